"""Checks at the door: what files and callers give must be of its type, in its range and small enough. Whatever is wrong is said in one line.

Imports no NumPy: `--help` answers at once.
"""

import contextlib
import json
import math
import numbers
import reprlib
import sys

from common.errors import UserError
from common.runtime import os_features

MAX_JSON = 1 << 20  # bytes of a file of settings; a run's own config.json has some 5,000
LONGEST_SHOWN = 200
INT64_MAX = 2**63 - 1  # what counts are stored as
# how files begin that are taken for text in UTF-8 and are none
FOREIGN = {
    b"\xff\xfe": "text in UTF-16; save it as UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as UTF-8",
    b"\x1f\x8b": "compressed; unpack it by gunzip",
}

_repr = reprlib.Repr()
_repr.maxstring, _repr.maxother, _repr.maxlevel = 80, 80, 3


def truncate(text):
    """A text on one line, and not too long: for errors."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def shown(x):
    """Any value in brief and without control characters, also one whose repr raises."""
    try:
        return truncate(_repr.repr(x))
    except Exception:  # reprlib goes by a class's name, and takes any `array` or `deque` for the library's own
        return f"<{type(x).__name__}>"


def whole(name, x, low=0, high=INT64_MAX):
    """`x` as an int. UserError unless it is a whole number from `low` to `high`; neither True nor 3.0 is one."""
    if isinstance(x, bool) or not isinstance(x, numbers.Integral) or not low <= x <= high:
        most = high != INT64_MAX or isinstance(x, numbers.Integral) and x > high
        limits = (f" of {low:,} or more" if low > -INT64_MAX else "") + (f", {high:,} at the most" if most else "")
        raise UserError(f"{name}={shown(x)} cannot be; give a whole number{limits}")
    return int(x)


def whole_argument(name, x, low=0, high=INT64_MAX):
    """`x`, an argument of a function, as an int. UserError unless it is a whole number from `low` to `high`, of any type of number: 1e6 is one.

    Files, which the product has written, hold ints alone: `whole`.
    """
    if isinstance(x, numbers.Real) and not isinstance(x, numbers.Integral):
        with contextlib.suppress(OverflowError, ValueError):  # infinity, NaN
            x = int(x) if int(x) == x else x
    return whole(name, x, low, high)


def number_argument(name, x, low=-math.inf, high=math.inf):
    """As `number`, but an int stays one."""
    checked = number(name, x, low, high)
    return x if type(x) is int else checked


def number(name, x, low=-math.inf, high=math.inf):
    """`x` as a float. UserError unless it is a number from `low` to `high`; NaN never is."""
    try:
        if not isinstance(x, bool) and isinstance(x, numbers.Real) and low <= float(x) <= high:
            return float(x)
    except OverflowError:
        pass  # an int beyond every float
    limits = (f" from {low:g}" if low > -math.inf else "") + (f" to {high:g}" if high < math.inf else "")
    raise UserError(f"{name}={shown(x)} cannot be; give a number{limits}")


def above(name, x, low, high=math.inf):
    """`x` as a float. UserError unless it is a number above `low`, and `high` at the most."""
    if number(name, x, low, high) == low:
        raise UserError(f"{name}={shown(x)} cannot be; give a number above {low:g}")
    return float(x)


def check_bool(name, x):
    """`x` as a bool. UserError unless it is True or False, also NumPy's."""
    if not isinstance(x, bool) and not ("numpy" in sys.modules and isinstance(x, sys.modules["numpy"].bool_)):
        raise UserError(f"{name}={shown(x)} cannot be; give true or false")
    return bool(x)


def check_choice(name, x, choices):
    """`x`. UserError unless it is one of `choices`, texts."""
    if not isinstance(x, str) or x not in choices:
        raise UserError(f"{name}={shown(x)} cannot be; choose one of {', '.join(choices)}")
    return x


def check_divisible(name, steps, num_envs):
    """Raises UserError unless a segment of `steps` steps is as long in each of `num_envs` environments."""
    if steps < num_envs or steps % num_envs:
        raise UserError(
            f"{name}={steps} cannot be shared out over {num_envs} environments; give a multiple of {num_envs}"
        )


def decoded(data):
    """The text in the bytes of a file: UTF-8, with a byte order mark or without.

    Raises:
        ValueError: naming what it is instead, where that can be told.
    """
    for mark, what in FOREIGN.items():
        if data.startswith(mark):
            raise ValueError(f"it is {what}")
    return data.decode("utf-8-sig")


@contextlib.contextmanager
def about(source):
    """Puts a file's name before what a check in the body says is wrong."""
    try:
        yield
    except UserError as error:
        raise error if str(source) in str(error) else UserError(f"{source}: {error}") from error


def check_memory(size, what):
    """Raises UserError if `size` bytes, which `what` needs, are more than this machine's memory, or than this process may have."""
    room = os_features.memory()
    if room is not None and size > room:
        raise UserError(
            f"{what} would take {size / 1e9:,.0f} GB of memory, of which there are {room / 1e9:,.0f}; give less"
        )


def read_json(path, source=None):
    """The JSON object in a file of settings.

    Args:
        source: how an error names the file; `path` if None.

    Raises:
        UserError: if it cannot be read, holds anything else, or is far longer than settings are.
    """
    source = source or path
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_JSON + 1)
        if len(data) > MAX_JSON:
            raise ValueError(f"it is longer than {MAX_JSON:,} bytes")
        found = json.loads(decoded(data))
    except RecursionError as error:
        raise UserError(f"{source} cannot be read: it is nested too deep") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{source} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{source} holds no JSON object, but {shown(found)}")
    return found
