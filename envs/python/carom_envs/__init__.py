"""Carom's environments for Python: exact, fast, and behind Gymnasium's interfaces.

>>> import carom_envs
>>> envs = carom_envs.make_vec("breakout", num_envs=32, seed=0)
>>> obs, info = envs.reset()
>>> obs.shape, obs.dtype
((32, 4, 84, 84), dtype('uint8'))
>>> obs, rewards, terminations, truncations, info = envs.step(envs.action_space.sample())

After the import, `gymnasium.make("carom/Breakout-v0")` and `gymnasium.make_vec("carom/Breakout-v0", num_envs=32)` work
as well. `carom_envs.games()` describes every game and its settings.
"""

from __future__ import annotations

from typing import Any

from .env import GameEnv
from .games import Game, Setting, games
from .registration import gymnasium_id, register
from .vector import GameVectorEnv

__all__ = ["Game", "GameEnv", "GameVectorEnv", "Setting", "games", "gymnasium_id", "make", "make_vec", "register"]


def make(game: str, *, seed: int | None = None, render_mode: str | None = None, **settings: Any) -> GameEnv:
    """Make one environment, without the wrappers that `gymnasium.make` adds.

    `make("breakout", sticky=0.25)` sets what `carom ... --set env.sticky=0.25` does. See `GameEnv`.
    """
    return GameEnv(game, seed=seed, render_mode=render_mode, **settings)


def make_vec(game: str, num_envs: int = 1, *, seed: int | None = None, **arguments: Any) -> GameVectorEnv:
    """Make `num_envs` environments that are stepped together.

    `arguments` are settings of the game, `autoreset_mode` and `render_mode`. See `GameVectorEnv`.
    """
    return GameVectorEnv(game, num_envs, seed=seed, **arguments)


register()
