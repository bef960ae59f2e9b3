"""The games that there are, and what one environment and a vector of them have in common."""

from __future__ import annotations

import json
import math
import operator
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from gymnasium.error import ClosedEnvironmentError

from . import _core

Table = dict[int, dict[int, list[tuple[float, int, float, bool]]]]
"""`P[state][action]` is a list of (probability, next state, reward, terminated), as in Gymnasium's toy text."""

RENDER_MODES = ("rgb_array", "ansi")
MAX_SEED = 2**64 - 1


class Setting(NamedTuple):
    """A setting of a game: an argument of `make` and `make_vec`."""

    key: str
    default: Any
    expected: str
    """Type and range in words."""
    doc: str


class Game(NamedTuple):
    """A game's name, description and settings."""

    name: str
    summary: str
    settings: tuple[Setting, ...]


def games() -> list[Game]:
    """Describe every game."""
    return [Game(name, summary, _settings(text)) for name, summary, text in _core.environments()]


def _settings(text: str) -> tuple[Setting, ...]:
    return tuple(Setting(s["key"], s["default"], s["expected"], s["doc"]) for s in json.loads(text))


class _Closed:
    """Stands in for the games of a closed environment."""

    def __init__(self, game: str) -> None:
        self._game = game

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ClosedEnvironmentError(f"this `{self._game}` is closed: expected an open environment; make another")


class Playable:
    """What one environment and a vector of them have in common.

    `game` is the name of the game, `settings` all its settings, `protocol` the name of the protocol that they amount
    to, and `action_names` the names of the actions by number.
    """

    game = ""
    _core: Any

    def _open(
        self,
        game: str,
        settings: Mapping[str, Any],
        render_mode: str | None,
        *,
        seeds: list[int],
        autoreset: str,
        batched: bool,
        copies: bool,
    ) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(f"render_mode is {render_mode!r}: expected None, 'rgb_array' or 'ansi'")
        self.render_mode = render_mode
        self._arguments = (game, to_json(settings), seeds, autoreset, batched, copies)
        self._core = core = _core.Games(*self._arguments)
        self.game = game
        self.settings: dict[str, Any] = json.loads(core.settings)
        self.protocol: str = core.protocol
        self.action_names: list[str] = core.action_names
        self._table: tuple[Table, np.ndarray] | None = None

    def _spaces(self) -> tuple[spaces.Space[Any], spaces.Discrete]:
        """Return the spaces of one environment's observations and actions."""
        kind, shape, limit = self._core.obs_space
        n_actions = spaces.Discrete(len(self.action_names))
        if kind == "states":
            return spaces.Discrete(limit), n_actions
        if kind == "images":
            return spaces.Box(0, limit, tuple(shape), np.uint8), n_actions
        return spaces.Box(-np.inf, np.inf, tuple(shape), np.float32), n_actions

    def _frames_per_second(self) -> int:
        """Return the speed at which the game is good to watch: 60 frames of an Atari, a few cells of a grid."""
        kind, _, limit = self._core.obs_space
        if kind == "images":
            return 60 // self.settings.get("frame_skip", 1) if limit == 255 else 6
        return {"vectors": 50, "states": 4}[kind]

    def _close(self) -> None:
        self._core = _Closed(self.game)

    @property
    def factor_names(self) -> list[str]:
        """Names of the true state variables, e.g. `ball_x`, `lives` and `score` of `breakout`."""
        return self._core.factor_names

    @property
    def P(self) -> Table:  # noqa: N802, the name in Gymnasium
        """The transition table, `P[state][action] = [(probability, next state, reward, terminated), ...]`.

        Only the small games have one; others raise AttributeError.
        """
        return self._model()[0]

    @property
    def initial_state_distrib(self) -> np.ndarray:
        """Probability of each state to be the first of an episode, `[n_states]`, `float64`. See `P`."""
        return self._model()[1]

    def _model(self) -> tuple[Table, np.ndarray]:
        if self._table is None:
            table = self._core.table()
            if table is None:
                raise AttributeError(f"`{self.game}` has no transition table")
            outcomes, first = table
            by_number = {s: dict(enumerate(actions)) for s, actions in enumerate(outcomes)}
            self._table = by_number, np.array(first)
        return self._table

    def save(self) -> str:
        """Return the whole state as text: running episodes, random streams and stacked frames.

        Raises:
            ResetNeeded: `reset` was not called yet
        """
        return self._core.save()

    def _pictures(self, env_idx: int) -> np.ndarray | str | None:
        picture = self._core.picture(env_idx)
        return picture if picture is None or self.render_mode == "rgb_array" else ansi(picture)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        core = state.pop("_core")
        if isinstance(core, _core.Games):
            state["_saved"] = None if core.is_new else core.save()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_saved" not in state:
            return self._close()
        self._core = _core.Games(*self._arguments)
        saved = self.__dict__.pop("_saved")
        if saved is not None:
            self._core.restore(saved)
        return None


def to_json(settings: Mapping[str, Any]) -> str:
    """Return settings as JSON. Values that JSON does not have become text, which the game refuses with its reason."""

    def plain(value: Any) -> Any:
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value

    def other(value: Any) -> Any:
        return plain(value.item()) if isinstance(value, np.generic) else str(value)

    return json.dumps({key: plain(value) for key, value in settings.items()}, default=other)


def to_seed(seed: Any) -> int:
    """Check a seed."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_SEED:
        raise ValueError(f"seed is {seed!r}: expected a whole number from 0 to {MAX_SEED}")
    return number


def consecutive_seeds(seed: int | None, n: int) -> list[int]:
    """Return `seed`, `seed + 1`, ..., as Gymnasium seeds a vector; a seed of the system's if there is none."""
    first = secrets.randbits(63) if seed is None else to_seed(seed)
    return [(first + i) & MAX_SEED for i in range(n)]


def ansi(picture: np.ndarray, columns: int = 80) -> str:
    """Draw `[height, width, 3]` pixels as text with colours of ANSI: at most `columns` wide, two pixels a character."""
    scale = -(-picture.shape[1] // columns)
    height, width = picture.shape[0] // scale // 2 * 2, picture.shape[1] // scale
    blocks = picture[: height * scale, : width * scale].reshape(height, scale, width, scale, 3)
    small = blocks.mean(axis=(1, 3)).astype(np.uint8).tolist()
    lines = []
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        line, last = "", None
        for pair in zip(upper, lower, strict=True):
            if pair != last:
                (r, g, b), (s, h, c) = pair
                line += f"\x1b[38;2;{r};{g};{b};48;2;{s};{h};{c}m"
            line, last = line + "▀", pair
        lines.append(line + "\x1b[0m")
    return "\n".join(lines) + "\n"
