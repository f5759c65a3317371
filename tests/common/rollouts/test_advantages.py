"""GAE and related functions are compared with numbers computed by hand, and with the sums in the papers, term by term."""

import numpy as np
import pytest
import tolerance

from common.rollouts.advantages import add_vtarg_and_adv, discounted_sums, explained_variance, gae, standardise


def test_gae_of_four_steps_by_hand():
    """gamma 1/2, lambda 1/2; a termination at step 1, then two steps of an unfinished episode.

    delta_3 = 4 + 1/2 * 8 - 2 = 6           A_3 = 6
    delta_2 = 1 + 1/2 * 2 - 4 = -2          A_2 = -2 + 1/4 * 6 = -1/2
    delta_1 = 3 + 1/2 * 0 - 2 = 1           A_1 = 1          (terminated: no V, no A from later steps)
    delta_0 = 1 + 1/2 * 2 - 1 = 1           A_0 = 1 + 1/4 * 1 = 5/4
    """
    adv = gae(
        np.float32([1, 3, 1, 4]),
        np.float32([1, 2, 4, 2]),
        np.array([True, False, True, False]),
        np.float32(8),
        np.zeros(4),
        0.5,
        0.5,
    )
    np.testing.assert_array_equal(adv, np.float32([1.25, 1, -0.5, 6]))  # exact: powers of two


def test_gae_with_a_time_limit_by_hand():
    """As above, but step 1 reached a time limit in a state with value 6: delta_1 = 3 + 1/2 * 6 - 2 = 4, A_1 = 4, A_0 = 1 + 1/4 * 4 = 2."""
    adv = gae(
        np.float32([1, 3, 1, 4]),
        np.float32([1, 2, 4, 2]),
        np.array([True, False, True, False]),
        np.float32(8),
        np.float32([0, 6, 0, 0]),
        0.5,
        0.5,
    )
    np.testing.assert_array_equal(adv, np.float32([2, 4, -0.5, 6]))


def gae_in_a_loop(rew, vpred, terminated, truncated, v_last, v_final, gamma, lam):
    """Schulman et al. 2016, eq. 16, computed backwards for one environment, with an explicit bootstrap value for each step."""
    adv, next_adv = np.zeros(len(rew)), 0.0
    for t in reversed(range(len(rew))):
        if terminated[t]:
            v_next, next_adv = 0.0, 0.0
        elif truncated[t]:
            v_next, next_adv = v_final[t], 0.0
        else:
            v_next = vpred[t + 1] if t + 1 < len(rew) else v_last
        next_adv = rew[t] + gamma * v_next - vpred[t] + gamma * lam * next_adv
        adv[t] = next_adv
    return adv


def random_segment(steps, num_envs, seed):
    rng = np.random.default_rng(seed)
    rew, vpred, v_final = rng.normal(size=(3, steps, num_envs))
    ended = rng.random((steps, num_envs))
    terminated, truncated = ended < 0.1, (ended >= 0.1) & (ended < 0.2)
    new = np.concatenate([rng.random((1, num_envs)) < 0.5, (terminated | truncated)[:-1]])
    v_last = rng.normal(size=num_envs)
    expected = {"terminated": terminated, "truncated": truncated, "v_last": v_last, "v_final": v_final}
    ended_last = (terminated | truncated)[-1]
    return rew, vpred, new, np.where(ended_last, 0, v_last), np.where(truncated, v_final, 0), expected


@pytest.mark.parametrize("steps", [1, 2, 3, 37, 64, 100])
@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0), (0.0, 0.95), (0.97, 1.0)])
def test_gae_is_the_papers_recurrence_with_terminations_and_time_limits(steps, gamma, lam):
    rew, vpred, new, nextvpred, final_vpred, ends = random_segment(steps, 5, seed=steps)
    adv = gae(rew, vpred, new, nextvpred, final_vpred, gamma, lam)
    expected = np.stack(
        [
            gae_in_a_loop(rew[:, k], vpred[:, k], gamma=gamma, lam=lam, **{name: x[..., k] for name, x in ends.items()})
            for k in range(5)
        ],
        axis=1,
    )
    assert adv.dtype == np.float32
    # one rounding to float32 of float64 sums of numbers up to 10, with about 7 roundings per step
    np.testing.assert_allclose(
        adv, expected, rtol=tolerance.ulps(1, 1), atol=tolerance.gamma(7 * steps, np.float64) * 10 * steps
    )


def test_gae_does_not_need_an_environment_axis():
    rew, vpred, new, nextvpred, final_vpred, _ = random_segment(50, 1, seed=3)
    flat = gae(rew[:, 0], vpred[:, 0], new[:, 0], nextvpred[0], final_vpred[:, 0], 0.99, 0.95)
    np.testing.assert_array_equal(flat, gae(rew, vpred, new, nextvpred, final_vpred, 0.99, 0.95)[:, 0])


def test_lambda_0_is_the_td_error():
    adv = gae(np.float32([1, 2]), np.float32([10, 20]), np.array([True, False]), np.float32(40), np.zeros(2), 0.5, 0.0)
    np.testing.assert_array_equal(adv, [1 + 0.5 * 20 - 10, 2 + 0.5 * 40 - 20])


def test_lambda_1_is_the_discounted_return_minus_the_value():
    adv = gae(np.float32([1, 2]), np.float32([10, 20]), np.array([True, False]), np.float32(40), np.zeros(2), 0.5, 1.0)
    np.testing.assert_array_equal(adv, [1 + 0.5 * 2 + 0.25 * 40 - 10, 2 + 0.5 * 40 - 20])


def test_value_targets_are_advantages_plus_values():
    rew, vpred, new, nextvpred, final_vpred, _ = random_segment(20, 2, seed=1)
    seg = {
        "rew": rew,
        "vpred": vpred.astype(np.float32),
        "new": new,
        "nextvpred": nextvpred,
        "final_vpred": final_vpred,
    }
    add_vtarg_and_adv(seg, 0.99, 0.95)
    error = tolerance.ulps(2, np.abs(seg["tdlamret"]).max())  # float32 addition, and subtraction
    np.testing.assert_allclose(seg["tdlamret"] - seg["vpred"], seg["adv"], rtol=0, atol=error)


def test_segment_of_baselines_without_final_values_is_accepted():
    """Baselines' traj_segment_generator yields no final_vpred: each end of an episode is a termination."""
    rew, vpred, new, nextvpred, final_vpred, _ = random_segment(20, 1, seed=1)
    seg = {"rew": rew, "vpred": vpred, "new": new.astype(np.int32), "nextvpred": nextvpred}
    add_vtarg_and_adv(seg, 0.99, 0.95)
    np.testing.assert_array_equal(seg["adv"], gae(rew, vpred, new, nextvpred, 0 * final_vpred, 0.99, 0.95))


@pytest.mark.parametrize("steps", [1, 2, 5, 8, 33])
def test_discounted_sums_are_the_recurrence(steps):
    rng = np.random.default_rng(steps)
    x, decay = rng.normal(size=(steps, 3)), rng.choice([0.0, 0.9, 1.0], (steps, 3))
    expected, later = np.empty((steps, 3)), np.zeros(3)
    for t in reversed(range(steps)):
        later = expected[t] = x[t] + decay[t] * later
    x_before, decay_before = x.copy(), decay.copy()
    # one product and one sum per step, in each of the two computations
    error = tolerance.gamma(2 * 2 * steps, np.float64) * np.abs(x).sum(axis=0).max()
    np.testing.assert_allclose(discounted_sums(x, decay), expected, rtol=0, atol=error)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(decay, decay_before)


def test_discounted_sums_by_hand():
    np.testing.assert_array_equal(
        discounted_sums([1, 2, 4], [0.5, 0.5, 0.5]), [1 + 0.5 * (2 + 0.5 * 4), 2 + 0.5 * 4, 4]
    )


def test_standardise_by_hand():
    # mean 3, differences -2, 0, 2, population standard deviation sqrt(8 / 3)
    np.testing.assert_allclose(
        standardise(np.float32([1, 3, 5])), np.array([-2, 0, 2]) / np.sqrt(8 / 3), rtol=tolerance.ulps(1, 1)
    )


@pytest.mark.parametrize("value", [0.0, 3.0, 0.1, -1e6, 1e-30])
@pytest.mark.parametrize("count", [1, 3, 2048])
def test_standardising_a_constant_gives_zeros(value, count):
    np.testing.assert_array_equal(standardise(np.full(count, value, np.float32)), np.zeros(count))


def test_standardise_uses_statistics_of_valid_entries_only():
    x, valid = np.float32([1, 1e9, 3, 5, -1e9]), np.array([True, False, True, True, False])
    np.testing.assert_allclose(
        standardise(x, valid)[valid], np.array([-2, 0, 2]) / np.sqrt(8 / 3), rtol=tolerance.ulps(1, 1)
    )


def test_explained_variance_is_1_if_exact_0_for_a_constant_and_negative_if_worse():
    ret = np.float32([1, 2, 3, 4])
    assert explained_variance(ret, ret) == 1
    assert explained_variance(np.full(4, 7, np.float32), ret) == 0
    assert explained_variance(-ret, ret) == 1 - 4  # Var[2 ret] / Var[ret]
    assert explained_variance(ret + 5, ret) == 1  # an offset does not change the variance


def test_explained_variance_of_constant_returns_is_nan():
    assert np.isnan(explained_variance(np.float32([1, 2]), np.float32([3, 3])))
