"""Steps per second of Atari's Breakout under a random policy on one core: single 84x84 observations, four frames a
step.

    python3 scripts/peers/atari_speed.py --seconds 2 [--only envpool]

One game of ALE behind Gymnasium's wrappers, and 32 at once in ALE's own vector and in EnvPool, both in C++ on one
thread. Actions are drawn beforehand. Prints one JSON object, {"peer environment count": steps per second}.
"""

from collections.abc import Callable

import speed
from peer_env import enter
from speed import CHUNK

enter("atari", "numpy", "gymnasium", "ale-py==0.12.1", "opencv-python-headless==4.12.0.88", "envpool==1.2.5")
speed.stay_on_one_core()

import ale_py  # noqa: E402
import envpool  # noqa: E402
import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402
from ale_py.vector_env import AtariVectorEnv  # noqa: E402

N_ENVS = 32
STEPS = CHUNK // 4  # these are slow
VECTOR = {
    "num_envs": N_ENVS,
    "num_threads": 1,
    "stack_num": 1,
    "noop_max": 30,
    "episodic_life": True,
    "use_fire_reset": False,
}


def behind_wrappers() -> Callable[[], int]:
    gym.register_envs(ale_py)
    game = gym.make("BreakoutNoFrameskip-v4")
    env = gym.wrappers.AtariPreprocessing(game, noop_max=30, frame_skip=4, screen_size=84)
    env.reset(seed=0)
    choices = np.random.default_rng(0)

    def run() -> int:
        for action in choices.integers(4, size=STEPS).tolist():
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return STEPS

    return run


def vector(env: gym.vector.VectorEnv) -> Callable[[], int]:
    """Returns a function that steps a vector of environments, which reset themselves."""
    env.reset()
    choices = np.random.default_rng(0)

    def run() -> int:
        for actions in choices.integers(4, size=(STEPS // N_ENVS, N_ENVS), dtype=np.int32):
            env.step(actions)
        return STEPS

    return run


CASES = {
    "ale breakout 1": behind_wrappers,
    "ale breakout 32": lambda: vector(AtariVectorEnv("breakout", frameskip=4, reward_clipping=True, **VECTOR)),
    "envpool breakout 32": lambda: vector(
        envpool.make_gymnasium("Breakout-v5", seed=0, frame_skip=4, reward_clip=True, **VECTOR)
    ),
}

if __name__ == "__main__":
    speed.report(CASES, __doc__)
