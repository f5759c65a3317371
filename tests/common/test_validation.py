"""What errors show of a value."""

from common.validation import LONGEST_SHOWN, shown


def test_any_value_is_shown_in_one_short_line():
    class array:  # by this name reprlib would take it for array.array
        pass

    class Unspeakable:
        def __repr__(self):
            raise RuntimeError("no words for it")

    assert shown(array()) == "<array>"
    assert "Unspeakable" in shown(Unspeakable())
    assert shown("two\nlines") == r"'two\nlines'"
    assert len(shown([["x" * 1000] * 1000] * 1000)) <= LONGEST_SHOWN
