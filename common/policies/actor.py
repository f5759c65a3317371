"""Acting with a policy's compiled network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.distributions import NumpyOperators, PdType

if TYPE_CHECKING:
    from common.policies.base import Policy


def choose_actions(pdtype: PdType, flat: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    """Sample actions, or take the most likely ones.

    Args:
        pdtype: the kind of distribution.
        flat: parameters, [..., p] float32.
        noise: as `pdtype.noise` draws it; None for the most likely actions.

    Returns:
        [..., *space.shape].
    """
    actions: np.ndarray = (
        pdtype.mode(NumpyOperators, flat) if noise is None else pdtype.sample(NumpyOperators, flat, noise)
    )
    return actions


class Actor:
    """Acts for one segment, during which the policy's weights do not change.

    Args:
        pi: the policy.
        noise: [T, K, ...], as `pdtype.noise` draws it; None for the most likely actions.

    Attributes:
        outputs: (flatparam [K, p], vpred [K]) of every call, which then need not be computed again for the update. None
            for Gaussians: at a small standard deviation, their log probabilities magnify rounding differences between
            batch sizes.
    """

    def __init__(self, pi: Policy, noise: np.ndarray | None) -> None:
        self.pi = pi
        self.noise = noise
        self.outputs: list[tuple[np.ndarray, np.ndarray]] | None = None if len(pi.pdtype.logstd_indices()) else []

    def __call__(self, ob: np.ndarray, t: int) -> np.ndarray:
        """Return actions [K, ...] for encoded observations [K, ...] at time step `t` of the segment."""
        flat, vpred = (x.numpy() for x in self.pi.compiled_forward(self.pi.prepare(ob)))
        if self.outputs is not None:
            self.outputs.append((flat, vpred))
        return choose_actions(self.pi.pdtype, flat, None if self.noise is None else self.noise[t])
