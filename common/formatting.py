"""Formats values as short text for messages and displays. Imports nothing of this project and no NumPy."""

import math
import reprlib

MAX_TEXT_LENGTH = 200  # characters of a value in an error message
MAX_SPACE_LENGTH = 120  # characters of a space in an error message

_repr = reprlib.Repr()
_repr.maxstring = 80
_repr.maxother = 80
_repr.maxlevel = 3


def truncate(text: str, length: int = MAX_TEXT_LENGTH) -> str:
    """Join a text into one line and shorten it to at most `length` characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 3]}..."


def safe_repr(value: object) -> str:
    """Return a short repr on one line; a value whose repr raises is shown by its class name."""
    try:
        return truncate(_repr.repr(value))
    except Exception:  # reprlib selects by class name and treats any class called `array` or `deque` as the library's
        return f"<{type(value).__name__}>"


def describe_space(space: object) -> str:
    """Return the repr of a Gymnasium space as one short line."""
    return truncate(str(space), MAX_SPACE_LENGTH)


def format_number(value: float) -> str:
    """Format a number of a log row: integers with separators, other numbers with four significant digits."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def format_duration(seconds: float) -> str:
    """Format seconds as h:mm:ss, or "-:--:--" if they are NaN (unknown)."""
    if math.isnan(seconds):
        return "-:--:--"
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
