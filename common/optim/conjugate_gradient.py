"""Solves A x = b, given only products of A with vectors."""

from collections.abc import Callable

import numpy as np


def conjugate_gradient(
    matvec: Callable[[np.ndarray], np.ndarray], b: np.ndarray, iterations: int, tolerance: float = 1e-10
) -> np.ndarray:
    """Solve A x = b for a symmetric positive definite A: Hestenes and Stiefel 1952; Nocedal and Wright, algorithm 5.2.

    Args:
        matvec: function v [P] -> A v [P].
        b: [P].
        iterations: maximum number. Fewer are made if the squared residual falls below `tolerance`, or if A is found not
            to be positive definite.
        tolerance: of the squared residual.

    Returns:
        [P] float64.
    """
    b = np.asarray(b, np.float64)
    x, residual, direction = np.zeros_like(b), b.copy(), b.copy()
    rs = residual @ residual
    for _ in range(iterations):
        if rs < tolerance:
            break
        Ap = np.asarray(matvec(direction), np.float64)
        curvature = direction @ Ap
        if curvature <= 0:
            break  # A is not positive definite, such as a Fisher matrix of 0 without damping
        step = rs / curvature
        x += step * direction
        residual -= step * Ap
        rs, previous = residual @ residual, rs
        direction = residual + (rs / previous) * direction
    return x
