"""Atari's Breakout in ALE and EnvPool, and functions that step environments for a time. The emulators are there after
`start`."""

from collections.abc import Callable
from typing import Any

import speed
from peer_env import enter
from speed import CHUNK

N_ENVS = 32
SLOW = CHUNK // 4  # steps of a peer between two looks at the clock


def start() -> None:
    """Return on one core, inside a virtual environment with the emulators installed."""
    enter("atari", "numpy", "gymnasium", "ale-py==0.12.1", "opencv-python-headless==4.12.0.88", "envpool==1.2.5")
    speed.stay_on_one_core()


def single(env: Any, steps: int) -> Callable[[], int]:
    """Returns a function that steps one environment."""
    import numpy as np

    env.reset(seed=0)
    choices = np.random.default_rng(0)

    def run() -> int:
        for action in choices.integers(4, size=steps).tolist():
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return steps

    return run


def vector(envs: Any, steps: int) -> Callable[[], int]:
    """Returns a function that steps a vector and holds the observations before and after each step."""
    import numpy as np

    obs = envs.reset()
    choices = np.random.default_rng(0)

    def run() -> int:
        nonlocal obs
        for actions in choices.integers(4, size=(steps // N_ENVS, N_ENVS), dtype=np.int32):
            obs, *_ = envs.step(actions)
        return steps

    return run


def peers(stack: int) -> dict[str, Callable[[], Callable[[], int]]]:
    """Returns one game of ALE behind Gymnasium's wrappers, and 32 at once in ALE's own vector and in EnvPool, both in
    C++ on one thread; observations are stacks of so many 84x84 frames, four frames a step, a life an episode."""
    import ale_py
    import envpool
    import gymnasium as gym
    from ale_py.vector_env import AtariVectorEnv
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

    def wrapped() -> gym.Env:
        gym.register_envs(ale_py)
        game = AtariPreprocessing(gym.make("BreakoutNoFrameskip-v4"), noop_max=30, terminal_on_life_loss=True)
        return game if stack == 1 else FrameStackObservation(game, stack)

    common: dict[str, Any] = dict(num_envs=N_ENVS, num_threads=1, stack_num=stack, noop_max=30)
    common.update(episodic_life=True, use_fire_reset=False)
    return {
        "ale breakout 1": lambda: single(wrapped(), SLOW),
        "ale breakout 32": lambda: vector(
            AtariVectorEnv("breakout", frameskip=4, reward_clipping=True, **common), SLOW
        ),
        "envpool breakout 32": lambda: vector(
            envpool.make_gymnasium("Breakout-v5", seed=0, frame_skip=4, reward_clip=True, **common), SLOW
        ),
    }
