"""Traces of four MinAtar games from the PyPI package `minatar`: `python minatar_games.py DIRECTORY`.

Each minatar_<game>.json.gz holds
  traces  three of 400 steps: seed, sticky, actions (a digit a step, before stickiness), rewards, terminals (a 0/1 digit
          a step), obs_crc32, and reset_crc32 (the observation after the first reset and after that of each terminal
          step)
  long    one of 6000 steps, played to reach what comes late: actions, terminals (step numbers from 1), reward_sum, and
          digests: after every 100 steps the crc32 so far over every step's observation, reward byte and terminal byte
A fresh environment each: construct, seed, reset, then act on every digit; after a terminal step reset and go on.
Observations are bytes 0/1, row-major [10, 10, channels]; the last of an episode is taken before the reset.
The players look at the public state and try moves on a copy of the environment; they are no part of the expectation.
"""
import copy
import logging
import random
import sys
import zlib
from pathlib import Path

logging.disable(logging.CRITICAL)
from golden import write  # noqa: E402
from minatar import Environment  # noqa: E402

GAMES = ["asterix", "freeway", "seaquest", "space_invaders"]


def cells(plane):
    return [(r, c) for r in range(10) for c in range(10) if plane[r, c]]


def tried(env, actions):
    """Reward and terminal after playing `actions` on a copy without stickiness."""
    e = copy.deepcopy(env)
    e.sticky_action_prob = 0.0
    total = 0
    for a in actions:
        r, done = e.act(a)
        total += int(r)
        if done:
            return total, True
    return total, False


def lives(env, path, depth, budget):
    budget[0] -= 1
    if tried(env, path)[1]:
        return False
    if depth == 0 or budget[0] < 0:
        return True
    return any(lives(env, path + [a], depth - 1, budget) for a in env.minimal_action_set())


def safe(env, wish, rng):
    rest = [a for a in env.minimal_action_set() if a not in wish]
    rng.shuffle(rest)
    for depth in (3, 1, 0):
        budget = [60]
        for a in wish + rest:
            if lives(env, [a], depth, budget):
                return a
    return wish[0]


def towards(here, there):
    moves = []
    if there[0] != here[0]:
        moves.append(2 if there[0] < here[0] else 4)
    if there[1] != here[1]:
        moves.append(1 if there[1] < here[1] else 3)
    return moves or [0]


def nearest(here, targets):
    return min(targets, key=lambda t: (abs(t[0] - here[0]) + abs(t[1] - here[1]), t))


def play_anything(env, rng):
    return rng.randrange(6)


def play_asterix(env, rng):
    s = env.state()
    here, gold = cells(s[:, :, 0])[0], cells(s[:, :, 3])
    return safe(env, towards(here, nearest(here, gold)) if gold and rng.random() < 0.8 else [rng.randrange(6)], rng)


def play_freeway(env, rng):
    return 2 if rng.random() < 0.95 else rng.randrange(6)


def play_seaquest(env, rng):
    s = env.state()
    here = cells(s[:, :, 0])[0]
    air, aboard, swimmers = int(s[9, :, 7].sum()), int(s[9, :, 8].sum()), cells(s[:, :, 9])
    prey = [c for r, c in cells(s[:, :, 5] | s[:, :, 6]) if r == here[0]]
    home = [2] * here[0]
    if here[0] == 0:
        wish = [4]
    elif here[0] == 1 and aboard == 0 and rng.random() < 0.6 and not tried(env, home)[1]:
        wish = [2]                                   # nobody shown aboard, yet coming up does not kill
    elif aboard == 6 and air > 5:                    # stay for a swimmer, who must swim on
        wish = towards(here, nearest(here, swimmers)) if swimmers else [rng.randrange(6)]
    elif (aboard == 6 or air <= 2 + here[0] // 2) and (aboard or not tried(env, home)[1]):
        wish = [2]
    elif prey and rng.random() < 0.6:
        wish = [5, 1 if prey[0] < here[1] else 3]
    elif swimmers and rng.random() < 0.9:
        wish = towards(here, nearest(here, swimmers))
    else:
        wish = [rng.randrange(6)]
    return safe(env, wish, rng)


def reckless_seaquest(env, rng):
    """Anything but coming up to die."""
    s = env.state()
    row = cells(s[:, :, 0])[0][0]
    a = 4 if row < 2 else rng.randrange(6)
    return 0 if row == 1 and a == 2 and tried(env, [2])[1] else a


def deep_seaquest(env, rng):
    """Lives until the air is out."""
    return safe(env, [4], rng)


def play_space_invaders(env, rng):
    def gain(before):
        pause = [0] * 9
        return tried(env, before + [5] + pause)[0] - tried(env, before + [0] + pause)[0]

    if gain([]) > 0 or rng.random() < 0.1:
        return safe(env, [5], rng)
    for n in range(1, 5):
        for d in (1, 3):
            if gain([d] * n) > 0:
                return safe(env, [d], rng)
    return safe(env, [rng.choice([0, 1, 3])], rng)


def timid_space_invaders(env, rng):
    """Dodges, hardly shoots and lets the aliens come down; now and then careless, or walks into one that has landed."""
    s = env.state()
    p, low = cells(s[:, :, 0])[0][1], [c for r, c in cells(s[:, :, 1]) if r == 9]
    if low and rng.random() < 0.1:
        return 1 if min(low) < p else 3
    if rng.random() < 0.05:
        return rng.choice([1, 3, 5])
    return safe(env, [rng.choice([0, 1, 3])], rng)


# The players of the traces with seeds 2 and 3, and who plays the long trace up to which step.
PLAYERS = {
    "asterix": (play_asterix, play_asterix, [(6000, play_asterix)]),
    "freeway": (play_freeway, play_freeway, [(6000, play_freeway)]),
    "seaquest": (play_seaquest, reckless_seaquest,
                 [(4000, play_seaquest), (5600, reckless_seaquest), (6000, deep_seaquest)]),
    "space_invaders": (play_space_invaders, timid_space_invaders,
                       [(2600, play_space_invaders), (6000, timid_space_invaders)]),
}


def record(game, seed, sticky, steps, players):
    env = Environment(game, sticky_action_prob=sticky)
    env.seed(seed)
    env.reset()
    rng = random.Random(f"{game} {seed} {steps}")
    raw = lambda: env.state().astype("uint8").tobytes()
    out = {"actions": [], "rewards": [], "terminals": [], "obs": [], "resets": [raw()]}
    for k in range(steps):
        a = next(play for until, play in players if k < until)(env, rng)
        r, done = env.act(a)
        out["actions"].append(int(a))
        out["rewards"].append(int(r))
        out["terminals"].append(int(done))
        out["obs"].append(raw())
        if done:
            env.reset()
            out["resets"].append(raw())
    return out


def digits(xs):
    return "".join(map(str, xs))


def trace(game, seed, sticky, player):
    t = record(game, seed, sticky, 400, [(400, player)])
    return {"seed": seed, "sticky": sticky, "actions": digits(t["actions"]), "rewards": t["rewards"],
            "terminals": digits(t["terminals"]), "obs_crc32": [zlib.crc32(o) for o in t["obs"]],
            "reset_crc32": [zlib.crc32(o) for o in t["resets"]]}


def long(game, seed, sticky, players):
    t = record(game, seed, sticky, 6000, players)
    digests, crc = [], 0
    for k, (o, r, d) in enumerate(zip(t["obs"], t["rewards"], t["terminals"]), 1):
        crc = zlib.crc32(o + bytes([r, d]), crc)
        if k % 100 == 0:
            digests.append(crc)
    return {"seed": seed, "sticky": sticky, "actions": digits(t["actions"]), "reward_sum": sum(t["rewards"]),
            "terminals": [k for k, d in enumerate(t["terminals"], 1) if d], "digests": digests}


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for game in GAMES:
        second, third, late = PLAYERS[game]
        golden = {"package": "minatar 1.0.15", "game": game, "ramping": True,
                  "shape": list(Environment(game).state_shape()),
                  "traces": [trace(game, 1, 0.1, play_anything), trace(game, 2, 0.1, second),
                             trace(game, 3, 0.0, third)],
                  "long": long(game, 1, 0.0, late)}
        write(out / f"minatar_{game}.json.gz", golden)


if __name__ == "__main__":
    main()
