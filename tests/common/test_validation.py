"""What errors show of a value."""

from common.formatting import MAX_TEXT_LENGTH, safe_repr


def test_any_value_is_shown_in_one_short_line():
    class array:  # by this name reprlib would take it for array.array
        pass

    class Unspeakable:
        def __repr__(self):
            raise RuntimeError("no words for it")

    assert safe_repr(array()) == "<array>"
    assert "Unspeakable" in safe_repr(Unspeakable())
    assert safe_repr("two\nlines") == r"'two\nlines'"
    assert len(safe_repr([["x" * 1000] * 1000] * 1000)) <= MAX_TEXT_LENGTH
