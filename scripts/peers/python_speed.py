"""Steps per second of Atari's Breakout through Python under a random policy on one thread: stacks of four 84x84
observations, four frames a step, a life an episode.

    python3 scripts/peers/python_speed.py --seconds 2 [--only carom]

32 games at once in Carom's vector (with and without `copy=False`), ALE's and EnvPool's, and one game in Carom and in
ALE behind Gymnasium's wrappers. Actions are drawn beforehand. Prints one JSON object, {"implementation environment
count": steps per second}.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import speed
from peer_env import enter
from speed import CHUNK

enter("atari", "numpy", "gymnasium", "ale-py==0.12.1", "opencv-python-headless==4.12.0.88", "envpool==1.2.5")
PACKAGE = Path(__file__).resolve().parent.parent / "python-package"
sys.path.insert(0, subprocess.run([PACKAGE], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
speed.stay_on_one_core()

import ale_py  # noqa: E402
import carom_envs  # noqa: E402
import envpool  # noqa: E402
import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402
from ale_py.vector_env import AtariVectorEnv  # noqa: E402
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation  # noqa: E402

N_ENVS = 32
VECTOR = {
    "num_envs": N_ENVS,
    "num_threads": 1,
    "stack_num": 4,
    "noop_max": 30,
    "episodic_life": True,
    "use_fire_reset": False,
}


def single(make: Callable[[], gym.Env], steps: int) -> Callable[[], int]:
    env = make()
    env.reset(seed=0)
    choices = np.random.default_rng(0)

    def run() -> int:
        for action in choices.integers(4, size=steps).tolist():
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return steps

    return run


def vector(envs: gym.vector.VectorEnv, steps: int) -> Callable[[], int]:
    """Returns a function that steps a vector and holds the observations before and after each step."""
    obs = envs.reset()
    choices = np.random.default_rng(0)

    def run() -> int:
        nonlocal obs
        for actions in choices.integers(4, size=(steps // N_ENVS, N_ENVS), dtype=np.int32):
            obs, *_ = envs.step(actions)
        return steps

    return run


def behind_wrappers() -> gym.Env:
    gym.register_envs(ale_py)
    game = AtariPreprocessing(gym.make("BreakoutNoFrameskip-v4"), noop_max=30, terminal_on_life_loss=True)
    return FrameStackObservation(game, 4)


SLOW = CHUNK // 4
CASES = {
    "carom breakout 32": lambda: vector(carom_envs.make_vec("breakout", N_ENVS, seed=0), 4 * CHUNK),
    "carom copy=False 32": lambda: vector(carom_envs.make_vec("breakout", N_ENVS, seed=0, copy=False), 4 * CHUNK),
    "carom breakout 1": lambda: single(lambda: gym.make("carom/Breakout-v0"), CHUNK),
    "ale breakout 32": lambda: vector(AtariVectorEnv("breakout", frameskip=4, reward_clipping=True, **VECTOR), SLOW),
    "envpool breakout 32": lambda: vector(
        envpool.make_gymnasium("Breakout-v5", seed=0, frame_skip=4, reward_clip=True, **VECTOR), SLOW
    ),
    "ale breakout 1": lambda: single(behind_wrappers, SLOW),
}

if __name__ == "__main__":
    speed.report(CASES, __doc__)
