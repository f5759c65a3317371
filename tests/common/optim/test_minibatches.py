"""Minibatches: which rows are drawn, how often, and with which weight."""

import numpy as np
import pytest

from common.errors import UserError
from common.optim.minibatches import minibatches_per_epoch, shuffle_into_minibatches


def plan(valid, batch_size, epochs=3, seed=0, **kwargs):
    return shuffle_into_minibatches(np.random.default_rng(seed), valid, batch_size, epochs, **kwargs)


def some_valid(rows=103, invalid=(0, 7, 50, 102)):
    valid = np.ones(rows, bool)
    valid[list(invalid)] = False
    return valid


def test_every_epoch_draws_a_row_at_most_once_and_drops_only_the_remainder():
    valid = some_valid()  # 99 rows that count: 6 minibatches of 16 and 3 rows left over
    indices, weights = plan(valid, 16)
    assert indices.shape == weights.shape == (3 * 6, 16)
    for epoch in indices.reshape(3, -1):
        assert len(np.unique(epoch)) == 6 * 16


def test_every_row_is_drawn_once_where_nothing_remains():
    indices, _ = plan(np.ones(64, bool), 16)
    for epoch in indices.reshape(3, -1):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(64))


def test_invalid_rows_are_never_drawn():
    valid = some_valid()
    assert valid[plan(valid, 16, epochs=50)[0]].all()


def test_the_remainder_is_another_one_in_every_epoch():
    indices, _ = plan(np.ones(17, bool), 16, epochs=10)
    left_out = [set(range(17)) - set(epoch) for epoch in indices]
    assert len({tuple(rows) for rows in left_out}) > 1  # all ten alike: once in 17**9 seeds


def test_epochs_are_shuffled_differently():
    indices, _ = plan(np.ones(64, bool), 64, epochs=2)
    assert (indices[0] != indices[1]).any()


@pytest.mark.parametrize("batch_size", [1, 16, 99, None])
def test_weights_of_a_minibatch_sum_to_one(batch_size):
    _, weights = plan(some_valid(), batch_size)
    assert weights.dtype == np.float32
    # each of B weights is rounded once: B * eps / B
    np.testing.assert_allclose(weights.sum(axis=1, dtype=np.float64), 1, rtol=np.finfo(np.float32).eps)


def test_none_is_one_minibatch_of_the_whole_segment():
    valid = some_valid()
    indices, weights = plan(valid, None, epochs=2)
    assert indices.shape == weights.shape == (2, 103)
    for row, weight in zip(indices, weights):
        np.testing.assert_array_equal(np.sort(row[weight > 0]), np.flatnonzero(valid))
        np.testing.assert_array_equal(np.unique(weight), np.float32([0, 1 / 99]))


def test_none_keeps_its_shape_whatever_rows_count():
    assert plan(np.ones(103, bool), None)[0].shape == plan(some_valid(), None)[0].shape


def test_weighted_sum_is_the_mean_over_the_rows_that_count():
    valid, x = some_valid(), np.random.default_rng(5).normal(size=103)
    indices, weights = plan(valid, None, epochs=1)
    assert (x[indices[0]] * weights[0]).sum() == pytest.approx(
        x[valid].mean(), rel=1e-6
    )  # all weights are one number, 1 / 99, rounded to float32 by 6e-8


def test_indices_are_int32_and_decided_by_the_generator():
    (first, _), (second, _), (other, _) = (plan(np.ones(64, bool), 8, seed=seed) for seed in (1, 1, 2))
    assert first.dtype == np.int32
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_ranks_agree_on_the_least_number_of_minibatches():
    indices, _ = plan(np.ones(64, bool), 8, max_minibatches=5)
    assert indices.shape == (3 * 5, 8)
    for epoch in indices.reshape(3, -1):
        assert len(np.unique(epoch)) == 40


def test_minibatches_per_epoch_counts_whole_ones():
    assert [minibatches_per_epoch(some_valid(), size) for size in (16, 99, 100, None)] == [6, 1, 1, 1]


def test_where_fewer_rows_count_than_a_minibatch_has_it_is_one_of_all_that_do():
    valid = some_valid()
    indices, weights = plan(valid, 100, epochs=2, max_minibatches=1)
    assert indices.shape == weights.shape == (2, 100) and indices.dtype == np.int32 and valid[indices].all()
    for row, weight in zip(indices, weights):
        np.testing.assert_array_equal(np.sort(row[weight > 0]), np.flatnonzero(valid))
        np.testing.assert_array_equal(np.unique(weight), np.float32([0, 1 / 99]))


@pytest.mark.parametrize("batch_size", [None, 1])
def test_a_segment_in_which_no_row_counts_is_refused(batch_size):
    """One NEXT_STEP environment and a segment of one step: it may be nothing but a reset."""
    with pytest.raises(UserError):
        plan(np.zeros(4, bool), batch_size)
