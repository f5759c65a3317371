"""Values in messages are short, on one line, and never raise."""

import math

from common.formatting import MAX_TEXT_LENGTH, describe_space, format_duration, format_number, safe_repr, truncate


def test_any_value_has_a_short_repr_on_one_line():
    class array:  # reprlib would take it for array.array, by its name
        pass

    class Unprintable:
        def __repr__(self):
            raise RuntimeError("no repr")

    assert safe_repr(array()) == "<array>"
    assert "Unprintable" in safe_repr(Unprintable())
    assert safe_repr("two\nlines") == r"'two\nlines'"
    assert len(safe_repr([["x" * 1000] * 1000] * 1000)) <= MAX_TEXT_LENGTH


def test_long_texts_are_truncated():
    assert truncate("a\n  b") == "a b"
    assert truncate("x" * 300) == "x" * (MAX_TEXT_LENGTH - 3) + "..."
    assert len(describe_space("x" * 300)) == 120


def test_numbers_and_durations():
    assert [format_number(x) for x in (12345, 12345.6, 1.23456, -0.5)] == ["12,345", "12,346", "1.235", "-0.5"]
    assert [format_duration(x) for x in (0, 3725.9, math.nan)] == ["0:00:00", "1:02:05", "-:--:--"]
