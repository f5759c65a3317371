"""Numbers of any dtype that come in from outside: cast where nothing is lost, else refused by whoever asked for them."""

import numpy as np

NUMBERS = "biuf"  # NumPy's kinds of real numbers
# what float() takes for the number that it is: most rewards, which pay for one look here and no more
SCALARS = frozenset((float, int, bool, np.bool_, *(np.dtype(code).type for code in np.typecodes["AllInteger"] + "efd")))


class CannotHold(ValueError):
    """A number that a dtype cannot hold: a fraction or NaN for an integer, or one beyond its range.

    Args:
        dtype: of the array that has it.
        value: the number.
    """

    def __init__(self, dtype, value):
        super().__init__(f"of dtype {dtype} with {value}")
        self.value = value


def cast(x, dtype):
    """An array of real numbers in another dtype.

    Rounding to a shorter float is no loss: it is what a space of that dtype asks for. NaN and infinity are floats, too.

    Args:
        x: the array, of one of the kinds `NUMBERS`.
        dtype: a NumPy dtype of one of these kinds.

    Raises:
        CannotHold: naming the first number that `dtype` has no place for.
    """
    if x.dtype == dtype:
        return x
    with np.errstate(invalid="ignore", over="ignore"):
        kept = x.astype(dtype)
    lost = np.isfinite(x) & ~np.isfinite(kept) if dtype.kind == "f" else kept != x
    if lost.any():
        raise CannotHold(x.dtype, x[lost].flat[0])
    return kept


def real(x):
    """A real number of any type as a Python float: NumPy's scalars, `Fraction`, `Decimal`, an array or tensor of one number of any shape.

    Raises:
        TypeError: if it is none, such as text, None, a complex number or an array of several numbers.
    """
    if type(x) in SCALARS:
        return float(x)
    if hasattr(x, "__array__"):
        x = np.asarray(x)
        if x.size != 1 or x.dtype.kind not in NUMBERS:
            raise TypeError(f"{x.size} of {x.dtype}, where one number is due")
        return float(x.item())
    if isinstance(x, (str, bytes, bytearray)):
        raise TypeError("text, where a number is due")  # float() would read it
    return float(x)
