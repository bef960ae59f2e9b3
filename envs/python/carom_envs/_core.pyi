"""The extension module: environments that are stepped together. `GameEnv` and `GameVectorEnv` are built on it."""

import numpy as np
from numpy.typing import NDArray

def environments() -> list[tuple[str, str, str]]:
    """Return id, description and settings of every environment. The settings are a list in JSON."""

class Games:
    """Environments of one kind that are stepped together.

    Observations are arrays of the shape in `obs_space`, the environments first if `batched`: `uint8` for images,
    `float32` for vectors, `int64` for states.
    """

    def __init__(
        self, id: str, settings: str, seeds: list[int], autoreset: str, batched: bool, copies: bool
    ) -> None:
        """Make an environment for each of `seeds`.

        `settings` is an object in JSON, and `autoreset` is SameStep, NextStep or Disabled. With `copies`, an array of
        observations does not change while it is held; otherwise all images are in the same array.
        """

    def reset(
        self, seeds: list[int | None] | None = None, mask: list[bool] | None = None
    ) -> NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.int64]:
        """Begin an episode in the environments of `mask`, or in all. Those with a seed are made anew from it."""

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[
        NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.int64],
        NDArray[np.float64],
        NDArray[np.bool_],
        NDArray[np.bool_],
        bool,
    ]:
        """Play an action, `[n_envs]`, in each environment.

        Returns observations, rewards, terminations and truncations, and whether an episode ended.
        """

    def step_one(
        self, action: int
    ) -> tuple[NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.int64], float, bool, bool]:
        """Play an action in the only environment."""

    def final_obs(self, env_idx: int) -> NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.int64]:
        """Return the last observation of the episode that the latest step ended in environment `env_idx`."""

    def episodes(self) -> list[tuple[int, float, int]]:
        """Return environment, return and length of each whole game that the latest step ended."""

    def save(self) -> str:
        """Return the whole state as JSON. Before the first `reset` there is none, and ResetNeeded is raised."""

    def restore(self, saved: str) -> NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.int64]:
        """Restore the state that `save` returned, or leave all as it is, and return the observations."""

    def picture(self, env_idx: int) -> NDArray[np.uint8] | None:
        """Return a colour picture, `[height, width, 3]`, of environment `env_idx`, if it can draw itself."""

    def factors(self) -> NDArray[np.float32]:
        """Return the true state variables, `[n_envs, n_factors]`."""

    def scripted_actions(self) -> NDArray[np.int64] | None:
        """Return the actions, `[n_envs]`, of the player written for the game, if there is one."""

    def table(self) -> tuple[list[list[list[tuple[float, int, float, bool]]]], list[float]] | None:
        """Return the transition table and the probability of each first state, if there are any."""

    @property
    def factor_names(self) -> list[str]:
        """Names of the true state variables."""

    @property
    def obs_space(self) -> tuple[str, list[int], int]:
        """Kind of observation (`images`, `vectors` or `states`), shape, and largest value or number of states."""

    @property
    def action_names(self) -> list[str]:
        """Names of the actions, in the order of their numbers."""

    @property
    def is_new(self) -> bool:
        """Whether no episode has begun."""

    @property
    def settings(self) -> str:
        """All settings with a value and an effect, an object in JSON."""

    @property
    def protocol(self) -> str:
        """Name of the protocol that the settings amount to, with the time limit."""
