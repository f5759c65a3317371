"""Adam is compared with the algorithm in the paper, in NumPy float64."""

import numpy as np
import pytest
import tensorflow as tf

from common.distributed.communicator import Communicator
from common.mpi_adam import MpiAdam, adam_step, clip_by_norm, get_flat, set_from_flat

EPS = float(np.finfo(np.float32).eps)
SHAPES = [(3, 2), (2,), ()]


def paper_adam(params, grads, stepsize, beta1, beta2, epsilon):
    """Kingma and Ba 2015, the efficient form at the end of section 2; yields (params, m, v) after each step."""
    m = v = np.zeros_like(params)
    for t, grad in enumerate(grads, 1):
        m = beta1 * m + (1 - beta1) * grad
        v = beta2 * v + (1 - beta2) * grad**2
        params = params - stepsize * np.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(v) + epsilon)
        yield params, m, v


def variables(seed=0):
    rng = np.random.default_rng(seed)
    return [tf.Variable(rng.standard_normal(shape).astype(np.float32)) for shape in SHAPES]


def gradients(count, size=9, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, size)) * 10.0 ** rng.integers(-4, 3, size)).astype(np.float32)


def assert_close_to_paper(actual, expected, grads, stepsize, start):
    params, m, v = actual
    moved = stepsize * len(grads)  # a step changes each parameter by at most about the step size
    # 1 - 0.999 ** t contains 0.999 rounded to float32. At t = 1 this is a relative error of eps / 2 / 1e-3, and half as much in the root.
    # A power that is off by 4 ulps of eps / 2 adds eps / 1e-3 / t, which over fifty steps is less than the same amount again.
    rounding = len(grads) * EPS * (np.abs(start).max() + moved)
    np.testing.assert_allclose(params, expected[0], rtol=0, atol=2 * moved * (EPS / 4e-3) + rounding)
    for moment, expected_moment, power in ((m, expected[1], 1), (v, expected[2], 2)):
        # 50 steps, each with a rounding of the sum and of the factors, relative to the largest gradient
        assert (np.abs(moment - expected_moment) <= 3 * len(grads) * EPS * np.abs(grads).max(axis=0) ** power).all()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("stepsize", "beta1", "beta2", "epsilon"), [(3e-4, 0.9, 0.999, 1e-5), (1e-2, 0.5, 0.99, 1e-8)])
def test_fifty_steps_equal_the_papers(compiled, stepsize, beta1, beta2, epsilon):
    start, grads = np.random.default_rng(2).standard_normal(9).astype(np.float32), gradients(50)
    step = tf.function(adam_step, jit_compile=True) if compiled else adam_step
    params, m, v = tf.constant(start), tf.zeros(9), tf.zeros(9)
    for t, grad in enumerate(grads, 1):
        params, m, v = step(params, m, v, tf.constant(t, tf.int64), grad, tf.constant(stepsize), beta1, beta2, epsilon)
    *_, expected = paper_adam(start.astype(np.float64), grads.astype(np.float64), stepsize, beta1, beta2, epsilon)
    assert_close_to_paper((params.numpy(), m.numpy(), v.numpy()), expected, grads, stepsize, start)


def test_first_step_is_the_step_size_against_the_gradients_sign():
    """m / sqrt(v) is the sign of the gradient at t = 1, for any norm: Kingma and Ba 2015, section 2.1."""
    params, _, _ = adam_step(tf.zeros(2), tf.zeros(2), tf.zeros(2), 1, np.float32([5, -0.01]), 0.1, 0.9, 0.999, 0.0)
    # 1 - 0.999 in float32: half an ulp (eps / 2) of 0.999 and 3 ulps of its power, over 1e-3, halved by the root
    np.testing.assert_allclose(params, [-0.1, 0.1], rtol=EPS / 1e-3)


def test_update_applies_the_papers_steps_to_the_variables():
    var_list, grads = variables(), gradients(50)
    start, adam = get_flat(var_list).numpy(), MpiAdam(var_list, epsilon=1e-5, comm=Communicator(None))
    for grad in grads:
        adam.update(grad, 1e-3)
    *_, expected = paper_adam(start.astype(np.float64), grads.astype(np.float64), 1e-3, 0.9, 0.999, 1e-5)
    assert_close_to_paper((get_flat(var_list).numpy(), adam.m.numpy(), adam.v.numpy()), expected, grads, 1e-3, start)
    assert adam.t.numpy() == 50


def test_update_accepts_float64_gradients_and_a_changing_step_size():
    one, other = variables(), variables()
    first, second = (MpiAdam(var_list, comm=Communicator(None)) for var_list in (one, other))
    for grad, stepsize in zip(gradients(3), (1e-2, 0.0, 1e-3)):
        first.update(grad.astype(np.float64), stepsize)
        second.update(grad, np.float32(stepsize))
    np.testing.assert_array_equal(get_flat(one), get_flat(other))
    assert first._compiled_apply.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("compiled", [False, True])
def test_step_that_is_not_applied_changes_nothing_even_if_the_gradient_is_nan(compiled):
    var_list = variables()
    adam = MpiAdam(var_list, comm=Communicator(None))
    adam.update(gradients(1)[0], 1e-2)
    before = {"params": get_flat(var_list).numpy(), **adam.state()}
    apply = tf.function(adam.apply, jit_compile=True) if compiled else adam.apply
    apply(tf.fill([9], float("nan")), tf.constant(1e-2), tf.constant(False))
    for name, x in {"params": get_flat(var_list).numpy(), **adam.state()}.items():
        np.testing.assert_array_equal(x, before[name], err_msg=name)


@pytest.mark.parametrize("compiled", [False, True])
def test_each_variable_has_its_own_multiple_of_the_step_size(compiled):
    """Adam has no state that couples parameters, so each variable changes as it would without the others."""
    var_list, grads, multipliers = variables(), gradients(20), (1.0, 0.25, 3.0)
    start = get_flat(var_list).numpy()
    adam = MpiAdam(var_list, epsilon=1e-5, lr_multipliers=multipliers, comm=Communicator(None))
    apply = tf.function(adam.apply, jit_compile=True) if compiled else adam.apply
    for grad in grads:
        apply(tf.constant(grad), tf.constant(1e-3))
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in SHAPES)])
    for multiplier, begin, end in zip(multipliers, ends, ends[1:]):
        own = slice(begin, end)
        *_, expected = paper_adam(
            start[own].astype(np.float64), grads[:, own].astype(np.float64), multiplier * 1e-3, 0.9, 0.999, 1e-5
        )
        found = (get_flat(var_list).numpy()[own], adam.m.numpy()[own], adam.v.numpy()[own])
        assert_close_to_paper(found, expected, grads[:, own], multiplier * 1e-3, start[own])


def test_restored_optimizer_continues_identically():
    one, other, grads = variables(), variables(), gradients(6)
    first, second = (MpiAdam(var_list, comm=Communicator(None)) for var_list in (one, other))
    for grad in grads[:3]:
        first.update(grad, 1e-2)
    second.restore(first.state())
    set_from_flat(other, get_flat(one))
    for grad in grads[3:]:
        first.update(grad, 1e-2)
        second.update(grad, 1e-2)
    np.testing.assert_array_equal(get_flat(one), get_flat(other))


def test_get_flat_concatenates_the_variables():
    var_list = variables()
    np.testing.assert_array_equal(get_flat(var_list), np.concatenate([v.numpy().ravel() for v in var_list]))


def test_set_from_flat_is_the_inverse_of_get_flat():
    one, other = variables(seed=1), variables(seed=2)
    set_from_flat(other, get_flat(one))
    for a, b in zip(one, other):
        np.testing.assert_array_equal(a, b)
        assert a.shape == b.shape


@pytest.mark.parametrize(
    ("grad", "max_norm", "expected"),
    [([3, 4], 1.0, [0.6, 0.8]), ([3, 4], 10.0, [3, 4]), ([3, 4], 5.0, [3, 4]), ([0, 0], 0.5, [0, 0])],
)
def test_gradients_are_scaled_down_to_the_norm_but_not_up(grad, max_norm, expected):
    clipped, norm = clip_by_norm(tf.constant(grad, tf.float32), max_norm)
    np.testing.assert_allclose(clipped, expected, rtol=8 * EPS)
    assert norm.numpy() == pytest.approx(np.linalg.norm(grad), rel=4 * EPS)


def test_single_rank_is_always_synced():
    adam = MpiAdam(variables(), comm=Communicator(None))
    adam.sync()
    adam.check_synced()
