"""Solving A x = b where only products with A are known."""

import numpy as np


def conjugate_gradient(product, b, iterations, tolerance=1e-10):
    """x with A x = b for a symmetric positive definite A: Hestenes and Stiefel 1952; Nocedal and Wright, algorithm 5.2.

    Args:
        product: function v [P] -> A v [P].
        b: [P].
        iterations: at the most; fewer where the squared residual falls below `tolerance`, or A turns out not to be positive definite.

    Returns:
        [P] float64.
    """
    b = np.asarray(b, np.float64)
    x, residual, direction = np.zeros_like(b), b.copy(), b.copy()
    squared = residual @ residual
    for _ in range(iterations):
        if squared < tolerance:
            break
        image = np.asarray(product(direction), np.float64)
        curvature = direction @ image
        if curvature <= 0:
            break  # it is not positive definite along here, as a Fisher matrix of 0 without damping is
        step = squared / curvature
        x += step * direction
        residual -= step * image
        squared, before = residual @ residual, squared
        direction = residual + (squared / before) * direction
    return x
