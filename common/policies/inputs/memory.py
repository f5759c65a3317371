"""The state of a recurrent policy while it acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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
