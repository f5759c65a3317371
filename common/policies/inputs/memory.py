"""The state of a recurrent policy while it acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from common.dtypes import REAL_KINDS
from common.errors import UserError
from common.formatting import safe_repr

if TYPE_CHECKING:
    from common.policies.base import Policy


class Memory:
    """The memory of a recurrent policy, for K environments.

    Args:
        num_envs: K.
        state_size: entries of a state.

    Attributes:
        state: [K, state_size] float32, after the last step.
        start: [K] bool, whether the next step is the first of an episode, for which the state is forgotten.
    """

    def __init__(self, num_envs: int, state_size: int) -> None:
        self.state = np.zeros((num_envs, state_size), np.float32)
        self.start = np.ones(num_envs, bool)

    def advance(self, state: np.ndarray) -> None:
        """Set the states after a step; no environment starts an episode until `start` is set again."""
        self.state[...] = state
        self.start[...] = False

    def columns(self, part: slice) -> Memory:
        """Return a view of some of the environments: what changes in it changes here."""
        view = Memory(0, 0)
        view.state, view.start = self.state[part], self.start[part]
        return view

    def copy(self) -> Memory:
        """Return a copy."""
        other = Memory(0, 0)
        other.state, other.start = self.state.copy(), self.start.copy()
        return other


def make_actor(pi: Policy, num_envs: int, noise: np.ndarray | None, memory: Memory | None) -> Any:
    """Return how a policy acts for one segment: `Policy.actor`, or with a memory `Policy.memory_actor`."""
    if memory is None:
        return pi.actor(num_envs, noise)
    return pi.memory_actor(noise, memory)


def checked_state(state: Any, shape: tuple[int, ...], is_batch: bool) -> np.ndarray:
    """Return a user's state of a memory as an array of a `shape` [N, S].

    Args:
        state: [N, S], or [S] for one observation.
        shape: the result's.
        is_batch: whether there is a batch of observations.

    Raises:
        UserError: unless it has the shape that the policy returns, and finite numbers.
    """
    expected = shape if is_batch else shape[1:]
    if np.shape(state) != expected:
        raise UserError(f"invalid state of shape {np.shape(state)}: must be {expected}, as the last call returned it")
    values = np.asarray(state)
    if values.dtype.kind not in REAL_KINDS:
        raise UserError(f"invalid state of dtype {values.dtype}: must be numbers, as the last call returned them")
    if not np.isfinite(values).all():
        raise UserError(f"invalid state with {values[~np.isfinite(values)][0]}: must be finite")
    return np.reshape(values.astype(np.float32), shape)


def checked_starts(episode_start: Any, num: int) -> np.ndarray:
    """Return whether an episode starts at each of `num` observations, bool, [] or [num].

    Raises:
        UserError: unless `episode_start` is a bool, or has one for each observation.
    """
    starts = np.asarray(episode_start)
    if starts.shape not in ((), (num,)):
        raise UserError(f"invalid episode_start of shape {starts.shape}: must be a bool, or have shape {(num,)}")
    if starts.dtype.kind not in REAL_KINDS or not np.isin(starts, (0, 1)).all():
        raise UserError(f"invalid episode_start={safe_repr(episode_start)}: must be True or False, or such an array")
    return starts.astype(bool)
