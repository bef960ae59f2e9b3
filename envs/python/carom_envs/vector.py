"""Environments that are stepped together, behind Gymnasium's `VectorEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import logger, spaces
from gymnasium.error import InvalidAction
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from .games import Playable, consecutive_seeds, to_seed


class GameVectorEnv(Playable, VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """`num_envs` environments of `game`, stepped together on one thread without Python's global lock.

    Observations are one array, its first axis the environments:

    - pixels: `[num_envs, frame_stack, 84, 84]`, `uint8` in 0..=255, oldest frame first; frames before an episode's
      first repeat it
    - planes: `[num_envs, rows, columns, channels]`, `uint8` in 0..=1
    - vectors: `[num_envs, n]`, `float32`
    - states: `[num_envs]`, `int64` in 0..n

    An array that is still held, also by a view or a tensor, does not change; one that has been let go of is written
    again. With `copy=False` every step returns the same array of pixels or planes, into which the games write with no
    copy at all, as with `copy=False` of Gymnasium's vectors: take a copy of what is to be kept, and write nothing in
    it, since the next stack follows from it.

    `autoreset_mode`, also in `metadata`, says when an episode follows one that ended:

    - SAME_STEP, the default: in the same step. `info["final_obs"]` is an array of objects, `[num_envs]`, with the last
      observations of the episodes that ended, else None; `info["_final_obs"]` is true where there is one.
    - NEXT_STEP: in the next step, which ignores the action and has reward 0.
    - DISABLED: when `reset(options={"reset_mask": mask})` says so.

    Where a whole game ends, `game_return` and `game_length` are its undiscounted return of true rewards (`float64`) and
    number of steps (`int64`), with masks `_game_return` and `_game_length`: in `info`, or in `info["final_info"]` with
    SAME_STEP.

    Environment `i` with seed `s` plays the same as one `GameEnv` with seed `s + i`.

    Args:
        game: name, e.g. "breakout"; `carom_envs.games()` lists all
        num_envs: number of environments
        render_mode: "rgb_array", `[height, width, 3]` of `uint8` each; "ansi", text in colours; or None
        autoreset_mode: a mode of Gymnasium, or its name
        copy: whether an observation that is held must not change
        seed: seed of the first `reset`, if that is given none; the system's randomness if None
        settings: settings of the game, e.g. `sticky=0.25`

    Raises:
        ValueError: a game, setting or mode does not exist, or has a wrong value; the message says what was expected
    """

    metadata = {"render_modes": ["rgb_array", "ansi"], "autoreset_mode": AutoresetMode.SAME_STEP, "render_fps": 10}

    def __init__(
        self,
        game: str,
        num_envs: int = 1,
        *,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        copy: bool = True,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(num_envs, (int, np.integer)) or num_envs < 1:
            raise ValueError(f"num_envs is {num_envs!r}: expected a whole number, 1 or above")
        modes = [mode.value for mode in AutoresetMode]
        if autoreset_mode not in (*AutoresetMode, *modes):
            raise ValueError(f"autoreset_mode is {autoreset_mode!r}: expected one of {', '.join(modes)}")
        mode = AutoresetMode(autoreset_mode)
        seeds = consecutive_seeds(seed, int(num_envs))
        self._open(
            game, settings, render_mode, seeds=seeds, autoreset=mode.value, batched=True, copies=bool(copy)
        )
        self.num_envs = int(num_envs)
        self.single_observation_space, self.single_action_space = self._spaces()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = {**self.metadata, "autoreset_mode": mode, "render_fps": self._frames_per_second()}
        self._resets_at_once = mode is AutoresetMode.SAME_STEP
        self._is_state = isinstance(self.single_observation_space, spaces.Discrete)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | np.ndarray | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode in every environment, and return their observations.

        If a lost life ended the last episode of an environment and none has followed, as with NEXT_STEP and DISABLED, a
        reset without a seed continues its game.

        Args:
            seed: seed `s` for seeds `s`, `s + 1`, ...; or a seed, or None, for each environment. With a seed, nothing
                of earlier episodes has an influence.
            options: `{"reset_mask": mask}` resets only where `mask`, `bool` and `[num_envs]`, is true
        """
        seeds: list[int | None] | None = None
        if np.iterable(seed):
            seeds = [None if one is None else to_seed(one) for one in seed]
            if len(seeds) != self.num_envs:
                raise ValueError(f"{len(seeds)} seeds: expected {self.num_envs}, one for each environment")
        elif seed is not None:
            seed = to_seed(seed)
            super().reset(seed=seed)
            seeds = list(consecutive_seeds(seed, self.num_envs))
        return self._core.reset(seeds, self._mask(options)), {}

    def _mask(self, options: dict[str, Any] | None) -> list[bool] | None:
        if options is None or "reset_mask" not in options:
            return None
        mask = options["reset_mask"]
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ValueError(f"reset_mask is {mask!r}: expected an array of {self.num_envs} bools")
        if not mask.any():
            raise ValueError("reset_mask is false everywhere: expected an environment to reset")
        return mask.tolist()

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Play `actions[i]` in environment `i`.

        Args:
            actions: whole numbers, `[num_envs]`: an array, a list or a tensor on the CPU

        Returns:
            observations, rewards (`float64`), terminations and truncations (`bool`), all `[num_envs, ...]`, and info

        Raises:
            InvalidAction: an action is not in the action space; then nothing has been played
            ResetNeeded: `reset` was not called yet, or with DISABLED an episode is over
        """
        if type(actions) is not np.ndarray or actions.dtype != np.int64 or actions.ndim != 1:
            actions = self._whole_numbers(actions)
        obs, rewards, terminations, truncations, has_ended = self._core.step(actions)
        info = self._info(terminations | truncations) if has_ended else {}
        return obs, rewards, terminations, truncations, info

    def _whole_numbers(self, actions: Any) -> np.ndarray:
        array = np.asarray(actions)
        if array.dtype.kind not in "iu" or array.shape != (self.num_envs,):
            raise InvalidAction(
                f"actions of type {array.dtype} and shape {array.shape}: "
                f"expected whole numbers of shape ({self.num_envs},)"
            )
        return array.astype(np.int64)

    def _info(self, ended: np.ndarray) -> dict[str, Any]:
        """Return what the vectors of Gymnasium tell of episodes that ended."""
        games: dict[str, Any] = {}
        episodes = self._core.episodes()
        if episodes:
            games["game_return"] = np.zeros(self.num_envs)
            games["_game_return"] = np.zeros(self.num_envs, bool)
            games["game_length"] = np.zeros(self.num_envs, int)
            for env_idx, game_return, length in episodes:
                games["game_return"][env_idx] = game_return
                games["game_length"][env_idx] = length
                games["_game_return"][env_idx] = True
            games["_game_length"] = games["_game_return"].copy()
        if not self._resets_at_once:
            return games
        final_obs = np.full(self.num_envs, None, object)
        for env_idx in np.flatnonzero(ended).tolist():
            obs = self._core.final_obs(env_idx)
            final_obs[env_idx] = int(obs) if self._is_state else obs
        return {"final_obs": final_obs, "_final_obs": ended, "final_info": games, "_final_info": ended.copy()}

    def render(self) -> tuple[Any, ...] | None:
        """Draw the present state of every environment as `render_mode` says."""
        if self.render_mode is None:
            logger.warn("render() draws nothing: expected render_mode 'rgb_array' or 'ansi' where the games are made")
            return None
        return tuple(self._pictures(env_idx) for env_idx in range(self.num_envs))

    def factors(self) -> np.ndarray:
        """Return the true state variables, `[num_envs, n_factors]`, `float32`; `factor_names` has their names."""
        return self._core.factors()

    def scripted_actions(self) -> np.ndarray | None:
        """Return the actions, `[num_envs]`, of the player written for the game, if there is one."""
        return self._core.scripted_actions()

    def restore(self, state: str) -> np.ndarray:
        """Restore the state that `save` returned, and return its observations.

        Raises:
            ValueError: the state is not of this game, or of another number of environments; then nothing has changed
        """
        return self._core.restore(state)

    def close_extras(self, **kwargs: Any) -> None:
        """Let the games go. All uses but `close` then raise ClosedEnvironmentError."""
        self._close()
