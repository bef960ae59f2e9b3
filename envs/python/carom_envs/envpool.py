"""Atari's Breakout behind EnvPool's interface, for programs that make their games with `envpool.make`.

`from carom_envs import envpool` in place of `import envpool` is the only line to change in CleanRL's
`pqn_atari_envpool.py`. Only the task `Breakout-v5` exists, and only the interfaces "gym" (`reset` returns observations,
`step` four values) and "gymnasium" (two and five).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from .vector import GameVectorEnv

TASK = "Breakout-v5"


def make(
    task_id: str,
    env_type: str = "gymnasium",
    num_envs: int = 1,
    *,
    seed: int = 42,
    stack_num: int = 4,
    frame_skip: int = 4,
    noop_max: int = 30,
    episodic_life: bool = False,
    reward_clip: bool = False,
    repeat_action_probability: float = 0.0,
    use_fire_reset: bool = True,
    full_action_space: bool = False,
    max_episode_steps: int = 27_000,
) -> EnvPool:
    """Make `num_envs` games. The arguments have EnvPool's names and defaults."""
    if task_id != TASK:
        raise ValueError(f"task_id is {task_id!r}: expected {TASK!r}")
    if env_type not in ("gym", "gymnasium"):
        raise ValueError(f"env_type is {env_type!r}: expected 'gym' or 'gymnasium'")
    games = GameVectorEnv(
        "breakout",
        num_envs,
        autoreset_mode=AutoresetMode.NEXT_STEP,
        seed=seed,
        frame_stack=stack_num,
        frame_skip=frame_skip,
        noop_max=noop_max,
        life_loss_terminal=episodic_life,
        reward_clip=False,
        sticky=repeat_action_probability,
        fire_reset=use_fire_reset,
        action_set="full" if full_action_space else "minimal",
        max_steps=max_episode_steps,
    )
    return EnvPool(games, env_type, reward_clip)


class EnvPool:
    """Games of Breakout with EnvPool's `reset`, `step` and `info`.

    `info` has `reward` (true rewards, `float32`), `terminated` (1 where the whole game is over, `int32`), `lives`
    (`int32`) and `TimeLimit.truncated` (`bool`), all `[num_envs]`. An episode that ended is followed by the next one in
    the next step, which ignores the action.
    """

    def __init__(self, games: GameVectorEnv, env_type: str, clips_rewards: bool) -> None:
        self._games = games
        self._is_gym = env_type == "gym"
        self._clips_rewards = clips_rewards
        self._lives_at = games.factor_names.index("lives")
        self.metadata = games.metadata
        self.num_envs = games.num_envs
        n_actions, shape = int(games.single_action_space.n), games.single_observation_space.shape
        if self._is_gym:
            from gym import spaces  # the old package, which such programs use
        else:
            from gymnasium import spaces
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.action_space = spaces.Discrete(n_actions)

    def __len__(self) -> int:
        return self.num_envs

    def reset(self) -> Any:
        """Begin a game in every environment and return the observations, `[num_envs, stack_num, 84, 84]`, `uint8`.

        With `episodic_life`, a reset after a step that lost a life continues that game.
        """
        obs, _ = self._games.reset()
        nothing = np.zeros(self.num_envs, bool)
        return obs if self._is_gym else (obs, self._info(np.zeros(self.num_envs, np.float32), nothing, nothing))

    def step(self, actions: Any) -> tuple[Any, ...]:
        """Play `actions[i]` in game `i`."""
        obs, rewards, terminations, truncations, _ = self._games.step(actions)
        rewards = rewards.astype(np.float32)
        info = self._info(rewards, terminations, truncations)
        if self._clips_rewards:
            rewards = np.sign(rewards)
        if self._is_gym:
            return obs, rewards, terminations | truncations, info
        return obs, rewards, terminations, truncations, info

    def close(self) -> None:
        """Let the games go."""
        self._games.close()

    def _info(self, rewards: np.ndarray, terminations: np.ndarray, truncations: np.ndarray) -> dict[str, np.ndarray]:
        lives = self._games.factors()[:, self._lives_at].astype(np.int32)
        is_over = (terminations & (lives == 0)) | truncations
        return {
            "reward": rewards,
            "terminated": is_over.astype(np.int32),
            "lives": lives,
            "TimeLimit.truncated": truncations,
        }
