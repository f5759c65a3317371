"""Reward scaling is compared with a loop over steps."""

import numpy as np
import pytest
from tolerance import gamma

from common.distributed.communicator import Communicator
from common.rollouts.return_scaling import RewardNormalizer

GAMMA = 0.9
# the variance of up to 234 returns, which are sums of about 50 terms that are not negligible, in each of the two computations
RTOL = 4 * gamma(2 * 234 + 100, np.float64)


def segment(steps, num_envs, rng, scale=1.0, invalid=()):
    rew, new = scale * rng.standard_normal((steps, num_envs)), rng.random((steps, num_envs)) < 0.2
    valid = np.ones((steps, num_envs), bool)
    for t, k in invalid:
        rew[t, k], new[t, k], valid[t, k] = 0, True, False  # the reset of a NEXT_STEP environment
    return {"rew": rew, "new": new, "valid": valid}


class LoopOverSteps:
    """R <- gamma R + r, starting at 0 in each episode, as in Gymnasium's NormalizeReward."""

    def __init__(self, num_envs):
        self.running_returns = np.zeros(num_envs)
        self.returns = []

    def scale(self, seg, clip):
        for t in range(len(seg["rew"])):
            for k in range(len(self.running_returns)):
                previous = 0 if seg["new"][t, k] else GAMMA * self.running_returns[k]
                self.running_returns[k] = previous + seg["rew"][t, k]
                if seg["valid"][t, k]:
                    self.returns.append(self.running_returns[k])
        mean = sum(self.returns) / len(self.returns)
        var = sum((x - mean) ** 2 for x in self.returns) / len(self.returns)
        return np.clip(seg["rew"] / np.sqrt(var), -clip, clip)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e4])
@pytest.mark.parametrize("clip", [10.0, 0.5])
def test_rewards_equal_those_of_a_loop_over_steps_and_segments(scale, clip):
    rng, normalizer, loop = (
        np.random.default_rng(0),
        RewardNormalizer(3, GAMMA, Communicator(None), clip),
        LoopOverSteps(3),
    )
    for steps in (1, 13, 64):
        seg = segment(steps, 3, rng, scale)
        seg["new"][0] |= steps == 1
        expected = loop.scale(seg, clip)
        normalizer(seg)
        np.testing.assert_allclose(seg["rew"], expected, rtol=RTOL)


def test_invalid_samples_do_not_change_the_statistics():
    rng, normalizer, loop = np.random.default_rng(1), RewardNormalizer(2, GAMMA, Communicator(None)), LoopOverSteps(2)
    seg = segment(20, 2, rng, invalid=[(3, 0), (10, 1), (19, 0)])
    expected = loop.scale(seg, 10.0)
    normalizer(seg)
    np.testing.assert_allclose(seg["rew"], expected, rtol=RTOL)
    assert normalizer.rms.count == 37


def test_scaled_rewards_do_not_depend_on_their_unit():
    rng = np.random.default_rng(2)
    seg = segment(5000, 2, rng)
    small, large = ({**seg, "rew": factor * seg["rew"]} for factor in (1.0, 1000.0))
    for scaled in (small, large):
        RewardNormalizer(2, GAMMA, Communicator(None), clip=np.inf)(scaled)
    # the variance of 10,000 float64 returns, twice
    np.testing.assert_allclose(small["rew"], large["rew"], rtol=4 * gamma(10_000 + 100, np.float64))


def test_rewards_are_divided_but_not_shifted():
    rng = np.random.default_rng(3)
    seg = segment(50, 2, rng)
    before = seg["rew"].copy()
    RewardNormalizer(2, GAMMA, Communicator(None), clip=np.inf)(seg)
    ratio = seg["rew"] / before
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=gamma(4, np.float64))  # two divisions for each ratio


def test_rewards_of_zero_stay_zero():
    seg = {"rew": np.zeros((10, 1)), "new": np.zeros((10, 1), bool), "valid": np.ones((10, 1), bool)}
    RewardNormalizer(1, GAMMA, Communicator(None))(seg)
    np.testing.assert_array_equal(seg["rew"], np.zeros((10, 1)))


def test_restored_statistics_give_identical_rewards_after_a_checkpoint():
    rng = np.random.default_rng(4)
    first, second = RewardNormalizer(2, GAMMA, Communicator(None)), RewardNormalizer(2, GAMMA, Communicator(None))
    first(segment(30, 2, rng))
    second.restore(first.state())
    seg = segment(30, 2, rng)
    seg["new"][0] = True  # a checkpoint truncates all episodes
    copied = {key: x.copy() for key, x in seg.items()}
    first(seg)
    second(copied)
    np.testing.assert_array_equal(seg["rew"], copied["rew"])
