"""Steps per second of Atari's Breakout through Python under a random policy on one thread: stacks of four 84x84
observations, four frames a step, a life an episode.

    python3 scripts/peers/python_speed.py --seconds 2 [--only carom]

32 games at once in Carom's vector (with and without `copy=False`), ALE's and EnvPool's, and one game in Carom and in
ALE behind Gymnasium's wrappers. Actions are drawn beforehand. Prints one JSON object, {"implementation environment
count": steps per second}.
"""

import subprocess
import sys
from pathlib import Path

import atari
import speed
from speed import CHUNK

atari.start()
PACKAGE = Path(__file__).resolve().parent.parent / "python-package"
sys.path.insert(0, subprocess.run([PACKAGE], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())

import carom_envs  # noqa: E402
import gymnasium as gym  # noqa: E402

CASES = {
    "carom breakout 32": lambda: atari.vector(carom_envs.make_vec("breakout", atari.N_ENVS, seed=0), 4 * CHUNK),
    "carom copy=False 32": lambda: atari.vector(
        carom_envs.make_vec("breakout", atari.N_ENVS, seed=0, copy=False), 4 * CHUNK
    ),
    "carom breakout 1": lambda: atari.single(gym.make("carom/Breakout-v0"), CHUNK),
    **atari.peers(stack=4),
}

if __name__ == "__main__":
    speed.report(CASES, __doc__)
