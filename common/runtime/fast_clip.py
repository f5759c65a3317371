"""`clip(x, low, high, out)`: the ufunc behind np.clip, whose layers of Python cost more than the few numbers of an action."""

import numpy as np

try:
    from numpy._core.umath import clip  # no public name; NumPy 2.0 to 2.5 have it there
except ImportError:
    clip = np.clip

__all__ = ["clip"]
