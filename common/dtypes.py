"""Conversion of numbers of any dtype that come from outside: cast without loss, or refused by the caller."""

from __future__ import annotations

from typing import Any

import numpy as np

REAL_KINDS = "biuf"  # NumPy's kinds of real numbers
# Types that float() converts exactly. Most rewards have one of them and need no other check.
FLOAT_TYPES = frozenset(
    (float, int, bool, np.bool_, *(np.dtype(code).type for code in np.typecodes["AllInteger"] + "efd"))
)


class LossyCastError(ValueError):
    """A dtype cannot represent a number: a fraction or NaN as an integer, or a number beyond the dtype's range.

    Args:
        dtype: dtype of the array that contains the number.
        value: the number.
    """

    def __init__(self, dtype: np.dtype[Any], value: Any) -> None:
        super().__init__(f"of dtype {dtype} with {value}")
        self.value = value


def cast_checked(x: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Cast an array of real numbers to another dtype.

    Rounding to a shorter float is allowed: a space of that dtype requires it. NaN and infinity are valid floats.

    Args:
        x: the array, of one of the kinds `REAL_KINDS`.
        dtype: a NumPy dtype of one of these kinds.

    Raises:
        LossyCastError: naming the first number that `dtype` cannot represent.
    """
    if x.dtype == dtype:
        return x
    with np.errstate(invalid="ignore", over="ignore"):
        converted = x.astype(dtype)
    lost = np.isfinite(x) & ~np.isfinite(converted) if dtype.kind == "f" else converted != x
    if lost.any():
        raise LossyCastError(x.dtype, x[lost].flat[0])
    return converted


def to_float(x: Any) -> float:
    """Convert a real number of any type to a Python float.

    Accepts Python's and NumPy's scalars, `Fraction`, `Decimal`, and arrays or tensors of one number, of any shape.

    Raises:
        TypeError: for anything else, such as text, None, a complex number or an array of several numbers.
    """
    if type(x) in FLOAT_TYPES:
        return float(x)
    if hasattr(x, "__array__"):
        x = np.asarray(x)
        if x.size != 1 or x.dtype.kind not in REAL_KINDS:
            raise TypeError(f"{x.size} of {x.dtype}, where one number is required")
        return float(x.item())
    if isinstance(x, (str, bytes, bytearray)):
        raise TypeError("text, where a number is required")  # float() would parse it
    return float(x)
