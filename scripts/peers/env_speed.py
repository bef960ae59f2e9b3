"""Environment steps per second under a random policy, observations included, on one core.

    python3 scripts/peers/env_speed.py --seconds 2 [--only minatar taxi]

MinAtar and Gymnasium step one environment at a time; gymnax (JAX, compiled for the CPU) steps 1, 128 and 2048 at once
inside one compiled loop, with its observation kept in the loop's state so that it is computed at every step. Actions of
the Python ones are drawn beforehand. Prints one JSON object, {"peer environment count": steps per second}.
"""

import os
from collections.abc import Callable

import speed
from peer_env import enter
from speed import CHUNK

enter("env", "numpy", "gymnasium", "minatar", "jax", "gymnax")
speed.stay_on_one_core()
os.environ["JAX_PLATFORMS"] = "cpu"

import gymnasium as gym  # noqa: E402
import gymnax  # noqa: E402
import jax  # noqa: E402
import minatar  # noqa: E402
import numpy as np  # noqa: E402


def minatar_breakout() -> Callable[[], int]:
    env = minatar.Environment("breakout", sticky_action_prob=0.1)
    env.seed(0)
    env.reset()
    actions = np.random.default_rng(0).integers(6, size=CHUNK).tolist()

    def run() -> int:
        for action in actions:
            _, terminated = env.act(action)
            env.state()
            if terminated:
                env.reset()
        return CHUNK

    return run


def gymnasium_env(env_id: str) -> Callable[[], int]:
    env = gym.make(env_id)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(env.action_space.n, size=CHUNK).tolist()

    def run() -> int:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return CHUNK

    return run


def gymnax_env(env_id: str, n_envs: int) -> Callable[[], int]:
    env, params = gymnax.make(env_id)
    steps = max(32, CHUNK // n_envs)

    def step(carry, _):
        key, _, state = carry
        key, action_key, step_key = jax.random.split(key, 3)
        actions = jax.random.randint(action_key, (n_envs,), 0, env.num_actions)
        step_keys = jax.random.split(step_key, n_envs)
        obs, state, reward, *_ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(step_keys, state, actions, params)
        return (key, obs, state), reward.sum()

    key = jax.random.key(0)
    obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, n_envs), params)
    rollout = jax.jit(lambda carry: jax.lax.scan(step, carry, None, steps))
    carry = (key, obs, state)

    def run() -> int:
        nonlocal carry
        carry, _ = jax.block_until_ready(rollout(carry))
        return steps * n_envs

    return run


CASES = {
    "minatar breakout 1": minatar_breakout,
    "gymnax minatar/breakout 1": lambda: gymnax_env("Breakout-MinAtar", 1),
    "gymnax minatar/breakout 128": lambda: gymnax_env("Breakout-MinAtar", 128),
    "gymnax minatar/breakout 2048": lambda: gymnax_env("Breakout-MinAtar", 2048),
    "gymnasium cartpole 1": lambda: gymnasium_env("CartPole-v1"),
    "gymnax cartpole 128": lambda: gymnax_env("CartPole-v1", 128),
    "gymnasium frozen-lake 1": lambda: gymnasium_env("FrozenLake-v1"),
    "gymnasium taxi 1": lambda: gymnasium_env("Taxi-v3" if "Taxi-v3" in gym.registry else "Taxi-v4"),
}


if __name__ == "__main__":
    speed.report(CASES, __doc__)
