"""One environment behind Gymnasium's `Env`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import logger
from gymnasium.error import InvalidAction

from .games import Playable, consecutive_seeds, to_seed

Obs = np.ndarray | int


class GameEnv(Playable, gymnasium.Env[Obs, int]):
    """One environment of `game`.

    Observations by kind of game, with the space that says so:

    - pixels: `[frame_stack, 84, 84]`, `uint8` in 0..=255, oldest frame first; frames before the first repeat it
    - planes: `[rows, columns, channels]`, `uint8` in 0..=1
    - vectors: `[n]`, `float32`
    - states: `int` in 0..n

    An array that `step` or `reset` returned does not change while it is held.

    `info` is empty, except when a whole game ends: then `game_return` is its undiscounted return of true rewards
    (`float`) and `game_length` its number of steps (`int`), also where a lost life ends an episode and rewards are
    clipped to -1, 0 and 1.

    The time limit is the setting `max_steps`; it truncates, never terminates. The environment with seed `s` plays the
    episodes of `carom trace --seed s`.

    Args:
        game: name, e.g. "breakout"; `carom_envs.games()` lists all
        render_mode: "rgb_array", `[height, width, 3]` of `uint8`; "ansi", text in colours; or None
        seed: seed of the first `reset`, if that is given none; the system's randomness if None
        settings: settings of the game, e.g. `sticky=0.25`

    Raises:
        ValueError: a game, setting or mode does not exist, or has a wrong value; the message says what was expected
    """

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 10}

    def __init__(
        self, game: str, render_mode: str | None = None, *, seed: int | None = None, **settings: Any
    ) -> None:
        seeds = consecutive_seeds(seed, 1)
        self._open(game, settings, render_mode, seeds=seeds, autoreset="Disabled", batched=False, copies=True)
        self.observation_space, self.action_space = self._spaces()
        self.metadata = {**self.metadata, "render_fps": self._frames_per_second()}
        self._is_state = isinstance(self.observation_space, gymnasium.spaces.Discrete)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Begin an episode and return its first observation. `options` has no meaning.

        With a seed, nothing of earlier episodes has an influence. If a lost life ended the last episode, a reset
        without a seed continues the game.
        """
        if seed is not None:
            seed = to_seed(seed)
            super().reset(seed=seed)
        return self._obs(self._core.reset(None if seed is None else [seed])), {}

    def step(self, action: int) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Play `action`, and return observation, reward, whether the game terminated, was truncated, and info.

        Raises:
            InvalidAction: the action is not in the action space
            ResetNeeded: the episode is over
        """
        try:
            obs, reward, terminated, truncated = self._core.step_one(action)
        except (TypeError, OverflowError):
            last = len(self.action_names) - 1
            raise InvalidAction(f"action {action!r}: expected a whole number from 0 to {last}") from None
        info: dict[str, Any] = {}
        if terminated or truncated:
            for _, game_return, length in self._core.episodes():
                info = {"game_return": game_return, "game_length": length}
        return int(obs) if self._is_state else obs, reward, terminated, truncated, info

    def render(self) -> np.ndarray | str | None:
        """Draw the present state as `render_mode` says."""
        if self.render_mode is None:
            logger.warn("render() draws nothing: expected render_mode 'rgb_array' or 'ansi' where the game is made")
            return None
        return self._pictures(0)

    def factors(self) -> np.ndarray:
        """Return the true state variables, `[n_factors]`, `float32`; `factor_names` has their names."""
        return self._core.factors()[0]

    def scripted_action(self) -> int | None:
        """Return the action of the player written for the game, if there is one."""
        actions = self._core.scripted_actions()
        return None if actions is None else int(actions[0])

    def restore(self, state: str) -> Obs:
        """Restore the state that `save` returned, and return its observation.

        Raises:
            ValueError: the state is not of this game; then nothing has changed
        """
        return self._obs(self._core.restore(state))

    def close(self) -> None:
        """Let the game go. All uses but `close` then raise ClosedEnvironmentError."""
        self._close()

    def _obs(self, obs: np.ndarray) -> Obs:
        return int(obs) if self._is_state else obs
