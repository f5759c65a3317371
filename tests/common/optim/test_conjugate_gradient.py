"""Conjugate gradients are compared with NumPy's solver."""

import numpy as np
import pytest
from tolerance import gamma

from common.optim.conjugate_gradient import conjugate_gradient


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_solution_equals_that_of_numpy(size):
    rng = np.random.default_rng(size)
    root = rng.standard_normal((size, size))
    matrix, b = root @ root.T + np.eye(size), rng.standard_normal(size)
    x = conjugate_gradient(lambda v: matrix @ v, b, 10 * size, tolerance=1e-24)
    # a residual of 1e-12 over an eigenvalue of at least 1; and, for each of two solvers, the rounding of float64 products of `size`
    # terms times the condition number; x is about 0.1
    error = 1e-12 + 2 * np.linalg.cond(matrix) * gamma(10 * size, np.float64) * np.linalg.norm(x)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, b), rtol=0, atol=error)
    assert error < 1e-7


def test_n_iterations_solve_n_equations_and_the_limit_is_kept():
    matrix, b, calls = np.diag([1.0, 10.0, 100.0]), np.ones(3), []
    x = conjugate_gradient(lambda v: calls.append(1) or matrix @ v, b, 3)
    # the square of the condition number, because the steps lose orthogonality
    np.testing.assert_allclose(x, 1 / np.diag(matrix), rtol=0, atol=100**2 * gamma(30, np.float64))
    assert len(calls) == 3


def test_solution_of_a_zero_right_hand_side_is_zero():
    assert not conjugate_gradient(lambda v: v, np.zeros(4), 10).any()


def test_iteration_stops_if_the_matrix_is_not_positive_definite():
    assert not conjugate_gradient(lambda v: 0 * v, np.ones(4), 10).any()
    # one step along (1, 1), where the curvature is still positive
    np.testing.assert_allclose(conjugate_gradient(lambda v: np.array([2.0, 0.0]) * v, np.ones(2), 10), [1, 1])
