"""Traces of MinAtar Breakout from the PyPI package `minatar`: `python minatar_traces.py FILE`.

Four traces (both action sets, sticky actions with 0.1 and 0). A step is one byte in hexadecimal: action index (bits
0-2), reward (bit 3), terminal (bit 4), a reset follows (bit 5). `crcs` holds, after every hundredth step, the CRC-32 of
all observations so far, those after resets included.
"""

import random
import sys
import zlib

import numpy as np
from golden import write
from minatar import Environment

N_STEPS = 30_000
BLOCK = 100
LEFT, RIGHT = 1, 3


def meet_ball(obs, codes, ahead):
    """Index of the action that moves the paddle to the ball's column, or to the one `ahead` of it.

    Meeting the ball on its column sends it on, ahead of it sends it back: without both, the ball soon runs in circles.
    """
    ball, trail = (int(np.argwhere(obs[:, :, channel])[0][1]) for channel in (1, 2))
    paddle = int(np.argwhere(obs[:, :, 0])[0][1])
    target = min(max(ball + (ball - trail) * ahead, 0), 9)
    wanted = LEFT if target < paddle else RIGHT if target > paddle else 0
    return codes.index(wanted)


def trace(action_set, sticky, seed):
    env = Environment("breakout", sticky_action_prob=sticky)
    codes = env.minimal_action_set() if action_set == "minimal" else list(range(6))
    choices = random.Random(seed)
    env.seed(seed)
    env.reset()
    crc = 0

    def observe():
        nonlocal crc
        obs = env.state()
        crc = zlib.crc32(obs.astype(np.uint8).tobytes(), crc)
        return obs

    obs = observe()
    steps, crcs, episode, after_end = bytearray(), [], 0, 0
    for step in range(1, N_STEPS + 1):
        # Every fourth episode is random, the others follow the ball more or less strictly.
        epsilon = [1.0, 0.02, 0.1, 0.3][episode % 4]
        if choices.random() < epsilon:
            action = choices.randrange(len(codes))
        else:
            action = meet_ball(obs, codes, ahead=choices.random() < 0.4)
        reward, terminal = env.act(codes[action])
        obs = observe()
        # Now and then a few steps are played after the end: they change nothing but draw from the stream.
        after_end = after_end + 1 if terminal else 0
        reset = after_end > (3 if episode % 5 == 0 else 0)
        steps.append(action | int(reward) << 3 | int(terminal) << 4 | int(reset) << 5)
        if reset:
            env.reset()
            obs = observe()
            episode, after_end = episode + 1, 0
        if step % BLOCK == 0:
            crcs.append(crc)
    return {"action_set": action_set, "sticky": sticky, "seed": seed, "steps": steps.hex(), "crcs": crcs}


if __name__ == "__main__":
    settings = [("full", 0.1), ("minimal", 0.1), ("full", 0.0), ("minimal", 0.0)]
    traces = [trace(action_set, sticky, seed) for seed, (action_set, sticky) in enumerate(settings)]
    write(sys.argv[1], {"reference": "minatar 1.0.15", "block": BLOCK, "traces": traces})
