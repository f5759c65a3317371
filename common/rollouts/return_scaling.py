"""Divides rewards by the running standard deviation of discounted returns, so that settings suit any reward scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.rollouts.advantages import discounted_sums
from common.rollouts.segment import Segment
from common.running_mean_std import RunningMeanStd

if TYPE_CHECKING:
    from common.distributed.communicator import Communicator


class RewardNormalizer:
    """Reward scaling of Engstrom et al. 2020, section 3 (Gymnasium's NormalizeReward), with statistics over all ranks.

    Args:
        num_envs: K, environments of this rank.
        gamma: discount.
        comm: the ranks.
        clip: scaled rewards are clipped to [-clip, clip].

    Attributes:
        rms: `RunningMeanStd` of the discounted returns.
        running_returns: [K], discounted returns of the running episodes.
    """

    def __init__(self, num_envs: int, gamma: float, comm: Communicator, clip: float = 10.0):
        self.gamma = gamma
        self.clip = clip
        self.rms = RunningMeanStd((), comm, min_std=1e-4)
        self.running_returns = np.zeros(num_envs)

    def __call__(self, seg: Segment) -> None:
        """Scale `rew` [T, K] of a segment in place, by statistics that include this segment."""
        # R_t = r_t + gamma R_{t-1} runs forward in time, and starts at 0 with each episode
        decay = self.gamma * (1.0 - seg["new"])
        rew = seg["rew"].copy()
        rew[0] += decay[0] * self.running_returns
        returns = discounted_sums(rew[::-1], decay[::-1])[::-1]
        self.running_returns = returns[-1].copy()
        self.rms.update(returns[seg["valid"]])
        seg["rew"] = np.clip(seg["rew"] / self.rms.std, -self.clip, self.clip)

    def state(self) -> dict[str, np.ndarray]:
        """The statistics, for a checkpoint. `running_returns` is not needed: a checkpoint truncates all episodes."""
        return self.rms.state()

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Restore what `state` returned."""
        self.rms.restore(state)
