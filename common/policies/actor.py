"""Acts with a policy's compiled network and records the network's outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.distributions import DiagGaussianPdType

if TYPE_CHECKING:
    from common.policies.base import Policy


class Actor:
    """Acts for one segment through the policy's compiled network.

    Args:
        policy: the policy, which must not change during the segment.
        noise: [T, K, ...] as `pdtype.noise` draws it; None for the most likely actions.

    Attributes:
        outputs: (flatparam, vpred) of each call, which the training then does not compute again. None for Gaussians: with a small
            standard deviation, their log probabilities magnify the rounding differences between two batch sizes.
    """

    def __init__(self, policy: Policy, noise: np.ndarray | None):
        self.policy = policy
        self.noise = noise
        self.outputs: list[tuple[np.ndarray, np.ndarray]] | None = None
        if not isinstance(policy.pdtype, DiagGaussianPdType):
            self.outputs = []

    def __call__(self, ob: np.ndarray, t: int) -> np.ndarray:
        """Actions [K, ...] at encoded observations [K, ...] in time step t."""
        policy = self.policy
        flat, vpred = (x.numpy() for x in policy._outputs(policy.prepare(ob)))
        if self.outputs is not None:
            self.outputs.append((flat, vpred))
        return policy._choose(flat, None if self.noise is None else self.noise[t])
