"""Minibatches: which samples are drawn, how often, and with which weights."""

import numpy as np
import pytest

from common.errors import UserError
from common.optim.minibatches import minibatches_per_epoch, shuffle_into_minibatches


def make_minibatches(valid, batch_size, epochs=3, seed=0, **kwargs):
    return shuffle_into_minibatches(np.random.default_rng(seed), valid, batch_size, epochs, **kwargs)


def some_valid(samples=103, invalid=(0, 7, 50, 102)):
    valid = np.ones(samples, bool)
    valid[list(invalid)] = False
    return valid


def test_each_epoch_draws_a_sample_at_most_once_and_drops_only_the_remainder():
    valid = some_valid()  # 99 valid samples: 6 minibatches of 16, and 3 samples left over
    indices, weights = make_minibatches(valid, 16)
    assert indices.shape == weights.shape == (3 * 6, 16)
    for epoch in indices.reshape(3, -1):
        assert len(np.unique(epoch)) == 6 * 16


def test_each_sample_is_drawn_once_if_there_is_no_remainder():
    indices, _ = make_minibatches(np.ones(64, bool), 16)
    for epoch in indices.reshape(3, -1):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(64))


def test_invalid_samples_are_never_drawn():
    valid = some_valid()
    assert valid[make_minibatches(valid, 16, epochs=50)[0]].all()


def test_each_epoch_leaves_out_a_different_remainder():
    indices, _ = make_minibatches(np.ones(17, bool), 16, epochs=10)
    left_out = [set(range(17)) - set(epoch) for epoch in indices]
    assert len({tuple(samples) for samples in left_out}) > 1  # all ten are equal for one of 17**9 seeds


def test_epochs_are_shuffled_differently():
    indices, _ = make_minibatches(np.ones(64, bool), 64, epochs=2)
    assert (indices[0] != indices[1]).any()


@pytest.mark.parametrize("batch_size", [1, 16, 99, None])
def test_weights_of_a_minibatch_sum_to_one(batch_size):
    _, weights = make_minibatches(some_valid(), batch_size)
    assert weights.dtype == np.float32
    # each of B weights is rounded once: B * eps / B
    np.testing.assert_allclose(weights.sum(axis=1, dtype=np.float64), 1, rtol=np.finfo(np.float32).eps)


def test_batch_size_none_makes_one_minibatch_of_the_segment():
    valid = some_valid()
    indices, weights = make_minibatches(valid, None, epochs=2)
    assert indices.shape == weights.shape == (2, 103)
    for minibatch, weight in zip(indices, weights):
        np.testing.assert_array_equal(np.sort(minibatch[weight > 0]), np.flatnonzero(valid))
        np.testing.assert_array_equal(np.unique(weight), np.float32([0, 1 / 99]))


def test_shape_for_batch_size_none_does_not_depend_on_valid_samples():
    assert make_minibatches(np.ones(103, bool), None)[0].shape == make_minibatches(some_valid(), None)[0].shape


def test_weighted_sum_is_the_mean_over_valid_samples():
    valid, x = some_valid(), np.random.default_rng(5).normal(size=103)
    indices, weights = make_minibatches(valid, None, epochs=1)
    # all weights are 1 / 99, whose rounding to float32 is off by 6e-8
    assert (x[indices[0]] * weights[0]).sum() == pytest.approx(x[valid].mean(), rel=1e-6)


def test_indices_are_int32_and_depend_only_on_the_generator():
    (first, _), (second, _), (other, _) = (make_minibatches(np.ones(64, bool), 8, seed=seed) for seed in (1, 1, 2))
    assert first.dtype == np.int32
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_number_of_minibatches_per_epoch_can_be_limited():
    indices, _ = make_minibatches(np.ones(64, bool), 8, max_minibatches=5)
    assert indices.shape == (3 * 5, 8)
    for epoch in indices.reshape(3, -1):
        assert len(np.unique(epoch)) == 40


def test_minibatches_per_epoch_counts_full_minibatches():
    assert [minibatches_per_epoch(some_valid(), size) for size in (16, 99, 100, None)] == [6, 1, 1, 1]


def test_fewer_valid_samples_than_batch_size_make_one_minibatch():
    valid = some_valid()
    indices, weights = make_minibatches(valid, 100, epochs=2, max_minibatches=1)
    assert indices.shape == weights.shape == (2, 100) and indices.dtype == np.int32 and valid[indices].all()
    for minibatch, weight in zip(indices, weights):
        np.testing.assert_array_equal(np.sort(minibatch[weight > 0]), np.flatnonzero(valid))
        np.testing.assert_array_equal(np.unique(weight), np.float32([0, 1 / 99]))


@pytest.mark.parametrize("batch_size", [None, 1])
def test_segment_without_valid_samples_is_rejected(batch_size):
    """In AutoresetMode.NEXT_STEP, all steps of a short segment can be resets."""
    with pytest.raises(UserError, match="no valid samples.*increase timesteps_per_actorbatch"):
        make_minibatches(np.zeros(4, bool), batch_size)
