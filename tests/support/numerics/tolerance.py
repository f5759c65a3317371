"""How far a computed float may be from the exact number, from the magnitudes of what it was computed from.

The bounds hold for any order of summation, with or without fused multiply-adds, on any processor. They are worst cases: where roundings do not
conspire, a sum of n terms is off by about the root of n of them, so that a right result is far inside, and a wrong one has to be a hundred times
or more outside, which the tests that use them say.
"""

import numpy as np

LIBM = 8  # ulps of an elementary function's result: the rational approximations of Eigen and XLA have up to 5, vendors' vector libraries 4
PERTURBED = 2  # roundings that are as much as the ulp that `perturbed_products` adds to a product


def ulps(count, size, dtype=np.float32):
    """`count` units in the last place of numbers as large as `size`: count * eps * |size|. One rounding is at most half an ulp."""
    return count * float(np.finfo(dtype).eps) * np.abs(size)


def gamma(n, dtype=np.float32):
    """The relative error of n roundings one upon the other, n u / (1 - n u) with u half an ulp of 1.

    A sum of n products x_i y_i is off by at most gamma(n) * sum |x_i y_i| in any order: Higham, "Accuracy and Stability of Numerical
    Algorithms", 2002, section 3.1, equations 3.3 to 3.5 (and section 4.2 for sums).
    """
    u = float(np.finfo(dtype).eps) / 2
    return n * u / (1 - n * u)


def likely(n, dtype=np.float32):
    """`gamma` for sums so long, in networks so deep, that the worst case says nothing: lambda sqrt(n) u, with lambda = 8.

    Roundings that are independent and of mean 0 stay within it but with a probability of 2 n exp(-lambda^2 / 2), once in a million for the ten
    million of a convolutional network: Higham and Mary 2019, "A new approach to probabilistic rounding error analysis", section 3.
    """
    return 8 * n**0.5 * float(np.finfo(dtype).eps) / 2
