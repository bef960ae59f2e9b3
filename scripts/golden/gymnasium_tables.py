"""Transition tables of Gymnasium's toy text, and a random walk through each: `python gymnasium_tables.py FILE`.

`outcomes[state][action]` lists `[probability, next state, reward, terminated]`. The walk starts with the recorded
random stream, resets, plays `actions` and resets again after each ending; `states` are all states seen, resets
included.
"""

import random
import sys

import gymnasium
from golden import pcg64_state, write

TABLES = [
    ("frozen-lake", {"map": "4x4", "slippery": True}, "FrozenLake-v1", {"map_name": "4x4", "is_slippery": True}),
    ("frozen-lake", {"map": "4x4", "slippery": False}, "FrozenLake-v1", {"map_name": "4x4", "is_slippery": False}),
    ("frozen-lake", {"map": "8x8", "slippery": True}, "FrozenLake-v1", {"map_name": "8x8", "is_slippery": True}),
    ("cliff-walking", {"slippery": False}, "CliffWalking-v1", {"is_slippery": False}),
    ("cliff-walking", {"slippery": True}, "CliffWalking-v1", {"is_slippery": True}),
    ("taxi", {}, "Taxi-v3", {}),
]


def plain(outcome):
    probability, state, reward, terminated = outcome
    return [float(probability), int(state), float(reward), bool(terminated)]


def walk(env, n_steps=1000):
    state, _ = env.reset(seed=0)
    stream, _ = gymnasium.utils.seeding.np_random(0)
    choices = random.Random(0)
    actions, states = [], [state]
    for _ in range(n_steps):
        action = choices.randrange(int(env.action_space.n))
        state, _, terminated, _, _ = env.step(action)
        actions.append(action)
        states.append(int(state))
        if terminated:
            states.append(int(env.reset()[0]))
    return {"rng": pcg64_state(stream), "actions": actions, "states": states}


def table(env_id, settings, reference, arguments):
    env = gymnasium.make(reference, **arguments).unwrapped
    outcomes = [[[plain(o) for o in env.P[s][a]] for a in sorted(env.P[s])] for s in sorted(env.P)]
    start = [float(p) for p in env.initial_state_distrib]
    return {
        "id": env_id,
        "settings": settings,
        "reference": reference,
        "outcomes": outcomes,
        "start": start,
        "walk": walk(env),
    }


if __name__ == "__main__":
    write(sys.argv[1], {"reference": f"gymnasium {gymnasium.__version__}", "tables": [table(*t) for t in TABLES]})
