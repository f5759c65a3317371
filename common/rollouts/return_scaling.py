"""Rewards divided by the running deviation of the discounted return, so that one step size serves tasks of any reward scale."""

import numpy as np

from common.rollouts.advantages import discounted_sums
from common.running_mean_std import RunningMeanStd


class RewardNormalizer:
    """Engstrom et al. 2020, section 3 (reward scaling), with statistics over all ranks.

    Args:
        num_envs: K, environments of this rank.
        gamma: discount.
        comm: the ranks.
        clip: scaled rewards are clipped to +- this.
    """

    def __init__(self, num_envs, gamma, comm, clip=10.0):
        self.gamma, self.clip = gamma, clip
        self.rms = RunningMeanStd((), comm, min_std=1e-4)
        self.carried = np.zeros(num_envs)

    def __call__(self, seg):
        """Scales the segment's `rew` [T, K] in place, by statistics that include it."""
        # time runs forwards here: R_t = r_t + gamma R_{t-1}, which starts again with every episode
        decay = self.gamma * (1.0 - seg["new"])
        first = seg["rew"].copy()
        first[0] += decay[0] * self.carried
        returns = discounted_sums(first[::-1], decay[::-1])[::-1]
        self.carried = returns[-1].copy()
        self.rms.update(returns[seg["valid"]])
        seg["rew"] = np.clip(seg["rew"] / self.rms.std, -self.clip, self.clip)

    def state(self):
        """The statistics, for a checkpoint. What is carried needs no saving: a checkpoint cuts every episode."""
        return self.rms.state()

    def restore(self, state):
        """Take over what `state` gave."""
        self.rms.restore(state)
