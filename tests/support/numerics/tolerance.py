"""Bounds of the rounding error of computed floats, from the magnitudes of their operands.

The bounds hold for any order of summation, with or without fused multiply-adds, on any processor. They are worst cases: with
independent roundings, the error of a sum of n terms grows with the square root of n only. A correct result is far inside the
bound. The tests that use a bound check that a wrong result is outside by a factor of a hundred or more.
"""

import numpy as np

LIBM = 8  # ulps of an elementary function's result: the rational approximations of Eigen and XLA have up to 5, vendors' vector libraries 4
PERTURBED = 2  # roundings that are as much as the ulp that `perturbed_products` adds to a product


def ulps(count, size, dtype=np.float32):
    """`count` units in the last place of numbers as large as `size`: count * eps * |size|. One rounding is at most half an ulp."""
    return count * float(np.finfo(dtype).eps) * np.abs(size)


def gamma(n, dtype=np.float32):
    """The relative error of n roundings in sequence, n u / (1 - n u) with u half an ulp of 1.

    The error of a sum of n products x_i y_i is at most gamma(n) * sum |x_i y_i| in any order.
    Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2002, equations 3.3 to 3.5 (section 4.2 for sums).
    """
    u = float(np.finfo(dtype).eps) / 2
    return n * u / (1 - n * u)


def gradient_error(roundings):
    """Relative error of a gradient whose samples pass through so many roundings.

    It is relative to the mean size of the samples' gradients, which is up to 30 times the gradient.
    """
    return 30 * gamma(roundings)


def change_error(roundings, steps, size, change, segments=3):
    """Relative error of the change of the parameters by a training on a few segments.

    It is that of the gradient, and half an ulp of parameters of norm `size` in each step, for a change of norm `change`.
    Errors accumulate over the segments. It holds for Adam with an epsilon of 1, which does not magnify small gradients.
    Leaving out one of two ranks, or a sum instead of a mean, would cause at least 0.3, a weight that is 1 % off 0.01.
    """
    return segments * (gradient_error(roundings) + steps * ulps(0.5, size) / change)


def likely(n, dtype=np.float32):
    """`gamma` for sums so long, in networks so deep, that the worst case is useless: lambda sqrt(n) u, with lambda = 8.

    Independent roundings of mean 0 exceed it with a probability of at most 2 n exp(-lambda^2 / 2). For the ten million roundings
    of a convolutional network that is once in a million.
    Source: Higham and Mary 2019, "A new approach to probabilistic rounding error analysis", section 3.
    """
    return 8 * n**0.5 * float(np.finfo(dtype).eps) / 2
