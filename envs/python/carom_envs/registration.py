"""The games under ids of Gymnasium."""

from __future__ import annotations

import gymnasium

from .games import games

NAMESPACE = "carom"
_SPELLINGS = {"cartpole": "CartPole", "minatar": "MinAtar"}


def gymnasium_id(game: str) -> str:
    """Return the id of `game` in Gymnasium: `carom/MinAtarBreakout-v0` for `minatar/breakout`."""
    words = [word for part in game.split("/") for word in part.split("-")]
    return f"{NAMESPACE}/{''.join(_SPELLINGS.get(word, word.capitalize()) for word in words)}-v0"


def register() -> None:
    """Register every game for `gymnasium.make` and `gymnasium.make_vec`. Importing the package does it."""
    for game in games():
        name = gymnasium_id(game.name)
        if name not in gymnasium.registry:
            gymnasium.register(
                id=name,
                entry_point="carom_envs.env:GameEnv",
                vector_entry_point="carom_envs.vector:GameVectorEnv",
                kwargs={"game": game.name},
            )
