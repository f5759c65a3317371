"""Discounted returns of demonstrations, in the units that the value function predicts."""

from __future__ import annotations

import numpy as np

from common.demonstrations.data import Demonstrations
from common.distributed.communicator import Communicator
from common.rollouts.advantages import discounted_sums
from common.rollouts.return_scaling import RewardNormalizer


def scaled_rewards(data: Demonstrations, normalizer: RewardNormalizer) -> np.ndarray:
    """Set the statistics of a training's `RewardNormalizer` from demonstrations; return their rewards [N], scaled."""
    own = RewardNormalizer(1, normalizer.gamma, Communicator(None), normalizer.clip)
    valid = np.ones(data.steps, bool)
    seg = {"rew": data.entries["rewards"][:, None], "new": data.starts[:, None], "valid": valid[:, None]}
    own(seg)
    normalizer.restore(own.state())
    return seg["rew"][:, 0]


def discounted_returns(
    data: Demonstrations, rewards: np.ndarray, gamma: float, bootstrap_time_limits: bool
) -> np.ndarray:
    """Return the value targets of demonstrations, [N] float32.

    A termination ends a return. A truncated episode would have continued, in states that the data do not have: its
    return continues with the mean value of the states of the data, as `mean_value` estimates it.

    Args:
        data: demonstrations with ends.
        rewards: [N], in the units of the value function.
        gamma: discount.
        bootstrap_time_limits: False: a truncation ends a return, too.
    """
    terminations, truncations, ends = data.entries["terminations"], data.entries["truncations"], data.ends
    continues = truncations & ~terminations if bootstrap_time_limits else np.zeros(data.steps, bool)
    continues[-1] |= not (terminations[-1] or truncations[-1])  # the data end inside an episode
    rewards = rewards + gamma * continues * mean_value(rewards, terminations, gamma)
    return discounted_sums(rewards, gamma * ~ends).astype(np.float32)


def mean_value(rewards: np.ndarray, terminations: np.ndarray, gamma: float) -> float:
    """Return the mean value of states in which rewards and terminations are as frequent as in the data.

    It solves v = r + gamma (1 - p) v, where r is the mean reward and p the fraction of steps that terminate; 0 if gamma
    is 1 and nothing terminates.
    """
    survival = gamma * (1 - terminations.mean())
    return 0.0 if survival == 1 else float(rewards.mean() / (1 - survival))
