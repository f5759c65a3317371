"""Reward scaling against a plain loop over steps."""

import numpy as np
import pytest
from tolerance import gamma

from common.distributed.communicator import Communicator
from common.rollouts.return_scaling import RewardNormalizer

GAMMA = 0.9
RTOL = 4 * gamma(
    2 * 234 + 100, np.float64
)  # a variance of up to 234 returns, whose sums are of some 50 terms that count: here and there


def segment(steps, num_envs, rng, scale=1.0, invalid=()):
    rew, new = scale * rng.standard_normal((steps, num_envs)), rng.random((steps, num_envs)) < 0.2
    valid = np.ones((steps, num_envs), bool)
    for t, k in invalid:
        rew[t, k], new[t, k], valid[t, k] = 0, True, False  # a NEXT_STEP environment's reset
    return {"rew": rew, "new": new, "valid": valid}


class PlainLoop:
    """R <- gamma R + r, from 0 at every start, as gymnasium's NormalizeReward carries it."""

    def __init__(self, num_envs):
        self.carried, self.seen = np.zeros(num_envs), []

    def scale(self, seg, clip):
        for t in range(len(seg["rew"])):
            for k in range(len(self.carried)):
                self.carried[k] = (0 if seg["new"][t, k] else GAMMA * self.carried[k]) + seg["rew"][t, k]
                if seg["valid"][t, k]:
                    self.seen.append(self.carried[k])
        mean = sum(self.seen) / len(self.seen)
        var = sum((x - mean) ** 2 for x in self.seen) / len(self.seen)
        return np.clip(seg["rew"] / np.sqrt(var), -clip, clip)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e4])
@pytest.mark.parametrize("clip", [10.0, 0.5])
def test_rewards_are_those_of_a_loop_over_steps_and_segments(scale, clip):
    rng, scaler, plain = np.random.default_rng(0), RewardNormalizer(3, GAMMA, Communicator(None), clip), PlainLoop(3)
    for steps in (1, 13, 64):
        seg = segment(steps, 3, rng, scale)
        seg["new"][0] |= steps == 1
        expected = plain.scale(seg, clip)
        scaler(seg)
        np.testing.assert_allclose(seg["rew"], expected, rtol=RTOL)


def test_rows_that_do_not_count_leave_no_trace():
    rng, scaler, plain = np.random.default_rng(1), RewardNormalizer(2, GAMMA, Communicator(None)), PlainLoop(2)
    seg = segment(20, 2, rng, invalid=[(3, 0), (10, 1), (19, 0)])
    expected = plain.scale(seg, 10.0)
    scaler(seg)
    np.testing.assert_allclose(seg["rew"], expected, rtol=RTOL)
    assert scaler.rms.count == 37


def test_scaled_rewards_do_not_depend_on_their_unit():
    """Whatever their scale."""
    rng = np.random.default_rng(2)
    seg = segment(5000, 2, rng)
    small, large = ({**seg, "rew": factor * seg["rew"]} for factor in (1.0, 1000.0))
    for scaled in (small, large):
        RewardNormalizer(2, GAMMA, Communicator(None), clip=np.inf)(scaled)
    np.testing.assert_allclose(
        small["rew"], large["rew"], rtol=4 * gamma(10_000 + 100, np.float64)
    )  # a variance of 10,000 float64 returns each


def test_rewards_are_divided_and_never_shifted():
    rng = np.random.default_rng(3)
    seg = segment(50, 2, rng)
    before = seg["rew"].copy()
    RewardNormalizer(2, GAMMA, Communicator(None), clip=np.inf)(seg)
    ratio = seg["rew"] / before
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=gamma(4, np.float64))  # two divisions each


def test_no_reward_at_all_stays_zero():
    seg = {"rew": np.zeros((10, 1)), "new": np.zeros((10, 1), bool), "valid": np.ones((10, 1), bool)}
    RewardNormalizer(1, GAMMA, Communicator(None))(seg)
    np.testing.assert_array_equal(seg["rew"], np.zeros((10, 1)))


def test_state_and_restore_continue_to_the_bit_after_a_checkpoints_cut():
    rng = np.random.default_rng(4)
    first, second = RewardNormalizer(2, GAMMA, Communicator(None)), RewardNormalizer(2, GAMMA, Communicator(None))
    first(segment(30, 2, rng))
    second.restore(first.state())
    one = segment(30, 2, rng)
    one["new"][0] = True  # a checkpoint cuts every episode
    other = {key: x.copy() for key, x in one.items()}
    first(one)
    second(other)
    np.testing.assert_array_equal(one["rew"], other["rew"])
