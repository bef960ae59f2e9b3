"""Traces of Atari's Breakout from the PyPI package `ale-py`: `python ale_breakout.py FILE`.

The actions of the first traces are those already in FILE: random, tracking and predicting play that reaches most rules.
Two more are drawn here: all 18 actions with sticky ones, and a game that is left alone until it ends itself after
65,536 frames. `actions` are ALE's numbers, one letter from `a` on a frame; `rewards` and `lives` hold `[frame, value]`
where they differ from 0 or from the previous frame. `frames` holds the CRC-32 of every `every`-th gray picture,
beginning with the reset's, and of the last. `obs` holds, after every hundredth observation, the CRC-32 of all 84x84
observations so far (the maximum of frames 3 and 4 of every four, by cv2's INTER_AREA).
"""

import gzip
import json
import random
import sys
import zlib

import cv2
import numpy as np
from ale_py import ALEInterface, LoggerMode, roms
from golden import write

ALEInterface.setLoggerMode(LoggerMode.Error)
OBS_BLOCK = 100
MINIMAL = [0, 1, 3, 4]


def trace(name, actions, every=5, sticky=0.0, seed=1):
    ale = ALEInterface()
    ale.setInt("random_seed", seed)
    ale.setInt("frame_skip", 1)
    ale.setFloat("repeat_action_probability", sticky)
    ale.loadROM(roms.get_rom_path("breakout"))
    ale.reset_game()
    rewards, lives, frames, obs = [], [], [zlib.crc32(ale.getScreenGrayscale())], []
    lives_left, crc, before = ale.lives(), 0, None
    for t, action in enumerate(actions):
        reward = ale.act(action)
        if reward:
            rewards.append([t, reward])
        if ale.lives() != lives_left:
            lives_left = ale.lives()
            lives.append([t, lives_left])
        hashed = t % every == 0 or t + 1 == len(actions)
        gray = ale.getScreenGrayscale() if t % 4 >= 2 or hashed else None
        if hashed:
            frames.append(zlib.crc32(gray))
        if t % 4 == 3:
            brightest = np.maximum(before, gray)
            crc = zlib.crc32(cv2.resize(brightest, (84, 84), interpolation=cv2.INTER_AREA), crc)
            if (t + 1) % (4 * OBS_BLOCK) == 0:
                obs.append(crc)
        before = gray
    actions = "".join(chr(ord("a") + action) for action in actions)
    return {
        "name": name,
        "sticky": sticky,
        "seed": seed,
        "every": every,
        "actions": actions,
        "rewards": rewards,
        "lives": lives,
        "frames": frames,
        "obs": obs,
    }


def sticky_actions():
    choices = random.Random(5)
    return [action for _ in range(1000) for action in [choices.randrange(18)] * 4]


def left_alone():
    """Serves a ball and loses it, then plays no-ops past the game's own end, then random actions between no-ops."""
    actions = [1] + [0] * 65_200
    choices = random.Random(6)
    while len(actions) < 65_537 + 70 * 256:
        actions += [choices.choice(MINIMAL)] * choices.randint(1, 40) + [0] * choices.randint(1, 400)
    return actions


if __name__ == "__main__":
    with gzip.open(sys.argv[1]) as file:
        old = json.load(file)["traces"]
    traces = []
    for known in old:
        if known["sticky"] == 0 and known["name"] != "left alone":
            traces.append(trace(known["name"], [ord(letter) - ord("a") for letter in known["actions"]]))
    traces.append(trace("sticky", sticky_actions(), sticky=0.25, seed=7))
    traces.append(trace("left alone", left_alone(), every=64))
    write(sys.argv[1], {"reference": "ale-py 0.12.1", "obs_block": OBS_BLOCK, "traces": traces})
