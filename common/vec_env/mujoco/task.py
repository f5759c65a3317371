"""The base class of the tasks' formulas."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from common.vec_env.mujoco.simulations import Simulations

if TYPE_CHECKING:
    from gymnasium.envs.mujoco import MujocoEnv

Step = tuple[np.ndarray, list[float], list[bool] | None]


class Task:
    """Observations, rewards and ends of K environments of one class.

    Formulas keep the order of operations and the dtypes of Gymnasium's, so that results are bit-identical. Single
    numbers are Python's floats, because a loop over K environments takes less time than NumPy's calls. Parameters are
    read from the environments, and read again by `refresh`.

    Args:
        envs: unwrapped environments.
        contact_forces: as for `Simulations`.

    Attributes:
        PARAMETERS: names of the environments' attributes in the formulas.
        parameters: their values by name without a leading underscore, and `dt` and `frame_skip`.
    """

    PARAMETERS: tuple[str, ...] = ()

    def __init__(self, envs: Sequence[MujocoEnv], contact_forces: bool = False) -> None:
        self.envs = envs
        self.simulations = Simulations(envs, contact_forces)
        self.parameters = SimpleNamespace()

    def refresh(self) -> bool:
        """Read the parameters; return whether all environments have the same."""
        names = (*self.PARAMETERS, "dt", "frame_skip")
        first, *others = ([getattr(env, name) for name in names] for env in self.envs)
        self.parameters.__dict__.update({name.lstrip("_"): value for name, value in zip(names, first)})
        return all(is_same(one, other) for values in others for one, other in zip(first, values))


class SteppedTask(Task, ABC):
    """A task whose rewards are computed in every step."""

    @abstractmethod
    def step(self, actions: np.ndarray) -> Step:
        """Step all simulations.

        Args:
            actions: [K, nu] float32.

        Returns:
            (observations [K, n], rewards, whether each has terminated, or None if none can). The array is reused by the
            next call.
        """


def is_same(one: Any, other: Any) -> bool:
    """Whether two parameters have the same type and value; False for arrays that are not the same object."""
    if one is other:
        return True
    return type(one) is type(other) and not isinstance(one, np.ndarray) and bool(one == other)


def sum_of_squares(x: np.ndarray) -> np.ndarray:
    """Return the sums over the rows of a contiguous [K, n] array, in its dtype."""
    return np.add.reduce(np.square(x), axis=1)


def clip_in_place(x: np.ndarray, low: float, high: float) -> None:
    """`np.clip`, in a third of the time."""
    np.maximum(x, low, out=x)
    np.minimum(x, high, out=x)
