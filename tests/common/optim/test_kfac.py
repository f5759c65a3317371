"""K-FAC's preconditioner is compared with the inverse of the explicit Kronecker product, in NumPy float64."""

import numpy as np
import pytest
import tensorflow as tf
from tolerance import gamma

from common.distributed.communicator import Communicator
from common.mpi_adam import get_flat
from common.optim.kfac import Kfac, damping_of_factors, split_factors

EPS = float(np.finfo(np.float32).eps)
SHAPES = [(3, 2), (2, 4)]


def positive_definite(rng, n):
    x = rng.standard_normal((2 * n, n))
    return (x.T @ x / n).astype(np.float32)


@pytest.fixture
def kfac():
    rng = np.random.default_rng(0)
    layers = [(tf.Variable(tf.zeros([n, m])), tf.Variable(tf.zeros([m]))) for n, m in SHAPES]
    logstd = tf.Variable(tf.zeros([4]))
    optimizer = Kfac(layers, [logstd], 2.0, 0.1, Communicator(None))
    factors = [(positive_definite(rng, n + 1), positive_definite(rng, m)) for n, m in SHAPES]
    optimizer.set_factors(factors)
    return optimizer, factors


def damped_blocks(factors, damping):
    """The damped Fisher blocks of the layers, over the weights with the bias as last row, in row-major order."""
    blocks = []
    for a, g in factors:
        added_to_a, added_to_g = damping_of_factors(a, g, damping)
        blocks.append(np.kron(a + added_to_a * np.eye(len(a)), (g + added_to_g * np.eye(len(g))).T).astype(np.float64))
    return blocks


def test_preconditioned_gradient_solves_with_the_explicit_kronecker_product(kfac):
    optimizer, factors = kfac
    grad = np.random.default_rng(1).standard_normal(optimizer.size).astype(np.float32)
    result = optimizer.precondition(tf.constant(grad)).numpy()
    start = 0
    for (n, m), block in zip(SHAPES, damped_blocks(factors, 0.1)):
        rows = slice(start, start + (n + 1) * m)  # w [n, m] and b [m] are adjacent: together [n + 1, m]
        expected = np.linalg.solve(block, grad[rows].astype(np.float64))
        # two products with inverses that are rounded once, each over n + 1 or m terms
        error = gamma(2 * (n + 1 + m) + 4) * np.linalg.norm(np.linalg.inv(block), 2) * np.linalg.norm(grad[rows])
        np.testing.assert_allclose(result[rows], expected, rtol=0, atol=np.sqrt(len(expected)) * error)
        start = rows.stop
    np.testing.assert_allclose(result[start:], grad[start:] / 2.1, rtol=2 * EPS)


def test_damping_is_the_product_of_what_the_factors_get_in_the_ratio_of_their_mean_eigenvalues():
    a, g = 4 * np.eye(3), 0.25 * np.eye(2)
    added_to_a, added_to_g = damping_of_factors(a, g, 0.01)
    assert (added_to_a, added_to_g) == pytest.approx((0.1 * 4, 0.1 / 4))  # the root of 4 / 0.25 is 4
    # a layer whose outputs do not matter yet: the damping stays finite
    assert np.isfinite(damping_of_factors(a, 0 * g, 0.01)).all()


def test_a_step_moves_against_the_preconditioned_gradient(kfac):
    optimizer, _ = kfac
    grad = tf.constant(np.random.default_rng(2).standard_normal(optimizer.size), tf.float32)
    optimizer.apply(grad, 0.5)
    np.testing.assert_array_equal(get_flat(optimizer.var_list), -0.5 * optimizer.precondition(grad).numpy())
    optimizer.apply(grad, 0.5, apply_update=False)
    np.testing.assert_array_equal(get_flat(optimizer.var_list), -0.5 * optimizer.precondition(grad).numpy())
    assert optimizer.t.numpy() == 1


def test_factors_are_split_as_they_were_concatenated():
    sizes = [size for n, m in SHAPES for size in (n + 1, m)]
    squares = [np.full((size, size), i) for i, size in enumerate(sizes)]
    found = split_factors(np.concatenate([x.ravel() for x in squares]), SHAPES)
    for (a, g), i in zip(found, (0, 2)):
        np.testing.assert_array_equal(a, squares[i])
        np.testing.assert_array_equal(g, squares[i + 1])
