"""Checks of arguments and of values in files: type, range and size. A failed check raises a one-line `UserError`.

Imports no NumPy, so that `--help` stays fast.
"""

import contextlib
import math
import numbers
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from common.errors import UserError
from common.formatting import safe_repr

INT64_MAX = 2**63 - 1  # counts are stored as int64


def check_int(name: str, value: Any, low: int = 0, high: int = INT64_MAX) -> int:
    """Return `value` as an int.

    Raises:
        UserError: unless it is an integer from `low` to `high`. Neither True nor 3.0 is accepted.
    """
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if is_integer and low <= value <= high:
        return int(value)
    shown_low = low if low > -INT64_MAX else None
    shown_high = high if high != INT64_MAX or (is_integer and value > high) else None
    allowed = _describe_range(shown_low, shown_high, ",", "" if is_integer else "an integer")
    raise UserError(f"invalid {name}={safe_repr(value)}: must be {allowed}")


def check_int_argument(name: str, value: Any, low: int = 0, high: int = INT64_MAX) -> int:
    """Return a function's argument as an int, like `check_int`, but also accept an integral float such as 1e6.

    Files written by this package contain ints only and are checked by `check_int`.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        with contextlib.suppress(OverflowError, ValueError):  # infinity, NaN
            integral: Any = value
            value = int(integral) if int(integral) == integral else value
    return check_int(name, value, low, high)


def check_float(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return `value` as a float.

    Raises:
        UserError: unless it is a real number from `low` to `high`. NaN is never accepted.
    """
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    with contextlib.suppress(OverflowError):  # an int beyond the range of float
        if is_real and low <= float(value) <= high:
            return float(value)
    shown_low = low if low > -math.inf else None
    shown_high = high if high < math.inf else None
    allowed = _describe_range(shown_low, shown_high, "g", "" if is_real else "a number")
    raise UserError(f"invalid {name}={safe_repr(value)}: must be {allowed or 'a number'}")


def check_number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return `value` as a float, like `check_float`, but leave an int an int."""
    checked = check_float(name, value, low, high)
    return value if type(value) is int else checked


def check_greater(name: str, value: Any, low: float, high: float = math.inf) -> float:
    """Return `value` as a float.

    Raises:
        UserError: unless it is a real number greater than `low` and at most `high`.
    """
    checked = check_float(name, value, low, high)
    if checked == low:
        raise UserError(f"invalid {name}={safe_repr(value)}: must be greater than {low:g}")
    return checked


def check_bool(name: str, value: Any) -> bool:
    """Return `value` as a bool.

    Raises:
        UserError: unless it is True or False, of Python or of NumPy.
    """
    numpy = sys.modules.get("numpy")
    if not isinstance(value, bool) and not (numpy and isinstance(value, numpy.bool_)):
        raise UserError(f"invalid {name}={safe_repr(value)}: must be true or false")
    return bool(value)


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return `value`.

    Raises:
        UserError: unless it is one of the texts `choices`.
    """
    if not isinstance(value, str) or value not in choices:
        raise UserError(f"invalid {name}={safe_repr(value)}: must be one of {', '.join(choices)}")
    return value


def check_divisible(name: str, steps: int, num_envs: int) -> None:
    """Raise UserError unless `steps` steps divide evenly among `num_envs` environments."""
    if steps < num_envs or steps % num_envs:
        raise UserError(
            f"invalid {name}={steps}: must be a multiple of {num_envs}, to divide evenly among {num_envs} environments"
        )


@contextlib.contextmanager
def error_prefix(source: object) -> Iterator[None]:
    """Context manager that prefixes a UserError with its source, such as a file's name, unless it names it already."""
    try:
        yield
    except UserError as error:
        raise error if str(source) in str(error) else UserError(f"{source}: {error}") from error


def _describe_range(low: float | None, high: float | None, number_format: str, kind: str) -> str:
    """Return the text after "must be": "at least 1", "between 0 and 1", or with a kind, "an integer of at least 1"."""
    if low is not None and high is not None:
        limits = f"between {low:{number_format}} and {high:{number_format}}"
    elif low is not None:
        limits = f"{'of ' if kind else ''}at least {low:{number_format}}"
    elif high is not None:
        limits = f"{'of ' if kind else ''}at most {high:{number_format}}"
    else:
        limits = ""
    return f"{kind} {limits}".strip()
