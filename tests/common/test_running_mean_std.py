"""Running moments are compared with those of all data at once in NumPy."""

import numpy as np
import pytest
from tolerance import gamma

from common.distributed.communicator import Communicator, merge_moments
from common.running_mean_std import RunningMeanStd

EPS = np.finfo(np.float64).eps


def moments(x):
    return len(x), x.mean(axis=0), x.var(axis=0)


def from_sums(x):
    """Mean and variance of samples, from their sums in extended precision."""
    x = x.astype(np.longdouble)
    count = np.longdouble(len(x))
    mean = x.sum(axis=0) / count
    return mean, np.square(x - mean).sum(axis=0) / count


@pytest.mark.parametrize(("offset", "std"), [(0, 1), (-3, 1e-3), (1e8, 1), (1e8, 1e-2)])
@pytest.mark.parametrize("sizes", [(1, 1), (1000, 1), (3, 500)])
def test_merged_moments_equal_those_of_the_concatenated_data(offset, std, sizes):
    rng = np.random.default_rng(0)
    a, b = (offset + std * rng.standard_normal((size, 4)) for size in sizes)
    count, mean, var = merge_moments(*moments(a), *moments(b))
    exact = np.concatenate([a, b]).astype(np.longdouble)
    assert count == len(exact)
    # The mean is off by the roundings of its sum, of numbers up to 4 standard deviations from the offset, and by those of merging.
    error = gamma(max(sizes) + 5, np.float64) * (abs(offset) + 4 * std)
    np.testing.assert_allclose(mean, exact.mean(axis=0).astype(float), rtol=0, atol=error)
    # This shifts delta, which is up to 8 standard deviations, by twice as much. The sum of the variance has roundings, too. Float32
    # would have 1e7 times this error.
    np.testing.assert_allclose(
        var, exact.var(axis=0).astype(float), rtol=gamma(2 * max(sizes) + 20, np.float64), atol=4 * error * 8 * std
    )


def test_merging_with_an_empty_set_changes_nothing():
    mean, var = np.float64([1.5, -2]), np.float64([0.3, 4])
    empty = (0, np.zeros(2), np.zeros(2))
    for merged in (merge_moments(7, mean, var, *empty), merge_moments(*empty, 7, mean, var)):
        assert merged[0] == 7
        np.testing.assert_array_equal(merged[1], mean)
        np.testing.assert_allclose(merged[2], var, rtol=2 * EPS)  # multiplied by 7 and divided by 7
    assert merge_moments(*empty, *empty)[0] == 0


@pytest.mark.parametrize(("offset", "std"), [(0, 1), (5, 0.2), (1e8, 1)])
def test_updates_give_the_moments_of_all_samples(offset, std):
    rng, rms = np.random.default_rng(1), RunningMeanStd((3,), min_std=0.0)
    batches = [offset + std * rng.standard_normal((size, 3)) for size in (1, 100, 7, 2048)]
    for batch in batches:
        rms.update(batch)
    mean, var = from_sums(np.concatenate(batches))
    error = gamma(2048 + 4 * 5, np.float64) * (offset + 4 * std)  # the sum of the largest batch, and four merges
    np.testing.assert_allclose(rms.mean, mean.astype(float), rtol=0, atol=error)
    # an error of the mean shifts all differences from it, and the variance is the mean of their squares
    np.testing.assert_allclose(rms.var, var.astype(float), rtol=gamma(2 * 2048 + 100, np.float64) + 4 * error / std)


def test_float32_samples_are_accumulated_in_float64():
    rng, rms = np.random.default_rng(2), RunningMeanStd(())
    x = (1000 + rng.standard_normal(100_000)).astype(np.float32)
    rms.update(x)
    mean, var = from_sums(x)
    error = gamma(100_000 + 10, np.float64)  # of a float64 sum; float32 sums would be off by 1e-4 and more
    assert rms.mean == pytest.approx(float(mean), rel=error)
    # the error of the mean, relative to a standard deviation of 1
    assert rms.var == pytest.approx(float(var), rel=2 * error + 2 * error * 1000)


def test_count_is_exact_above_a_billion_samples():
    rms = RunningMeanStd(())
    rms.restore({"count": np.float64([4e9]), "mean": np.zeros(()), "var": np.ones(())})
    rms.update(np.ones(1))
    assert rms.count == 4e9 + 1
    assert rms.mean == pytest.approx(1 / (4e9 + 1), rel=4 * EPS)


def test_empty_update_changes_nothing():
    rms = RunningMeanStd((2,))
    rms.update(np.float32([[1, 2], [3, 5]]))
    before = rms.state()
    rms.update(np.zeros((0, 2), np.float32))
    for name, x in rms.state().items():
        np.testing.assert_allclose(x, before[name], rtol=2 * EPS)


def test_empty_first_update_leaves_mean_0_and_std_1():
    rms = RunningMeanStd((2,))
    rms.update(np.zeros((0, 2)))
    np.testing.assert_array_equal(rms.mean, [0, 0])
    np.testing.assert_array_equal(rms.std, [1, 1])


def test_restored_statistics_continue_identically():
    rng = np.random.default_rng(3)
    first, second = RunningMeanStd((4,)), RunningMeanStd((4,))
    first.update(rng.standard_normal((50, 4)))
    second.restore(first.state())
    more = rng.standard_normal((20, 4))
    first.update(more)
    second.update(more)
    for name, x in first.state().items():
        np.testing.assert_array_equal(x, second.state()[name])


def test_restored_state_is_a_copy():
    rms, state = RunningMeanStd((2,)), {"count": np.ones(1), "mean": np.zeros(2), "var": np.ones(2)}
    rms.restore(state)
    rms.update(np.full((10, 2), 7.0))
    np.testing.assert_array_equal(state["mean"], [0, 0])


def test_std_of_a_constant_input_stays_at_its_minimum():
    rms = RunningMeanStd((1,), min_std=0.1)
    for _ in range(3):
        rms.update(np.zeros((100_000, 1)))
    np.testing.assert_array_equal(rms.std, [0.1])


def test_normalise_is_mean_and_std_then_clip_in_float32():
    rms = RunningMeanStd((2,))
    rms.restore({"count": np.ones(1), "mean": np.float64([1e8, 0]), "var": np.float64([4.0, 0.0])})
    out = rms.normalise(np.float64([[1e8 + 1, 0.05], [1e8 - 100, -0.3]]), clip=5.0)
    assert out.dtype == np.float32
    # (1 / 2, 0.05 / minimum 0.1), (-50 clipped, -0.3 / 0.1)
    np.testing.assert_allclose(out, [[0.5, 0.5], [-5, -3]], rtol=gamma(1))


def test_moments_of_one_process_equal_numpys():
    x = np.random.default_rng(4).standard_normal((30, 2, 3)).astype(np.float32)
    count, mean, var = Communicator(None).moments(x)
    assert count == 30
    error = 2 * gamma(30 + 2, np.float64) * np.abs(x).max()  # two float64 sums of 30
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype=np.float64), rtol=0, atol=error)
    np.testing.assert_allclose(var, x.var(axis=0, dtype=np.float64), rtol=0, atol=4 * error * np.abs(x).max())


def test_constant_input_becomes_zero_if_min_std_is_0():
    rms = RunningMeanStd((2,), min_std=0.0)
    rms.update(np.stack([np.full(100, 7.0), np.arange(100.0)], axis=1))
    x = rms.normalise(np.array([[7.0, 49.5]]), 5)
    np.testing.assert_array_equal(x, [[0, 0]])
