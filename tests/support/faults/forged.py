"""Files that an attacker, another version or a bad disk makes of real ones, with a hash that is right."""

import contextlib
import resource

import pytest
import tensorflow  # noqa: F401  whose import is no cost of what is refused

from common.errors import UserError
from common.storage.array_files import load_arrays, save_arrays

FORMATS = ("baselines_ppo.policy", "baselines_ppo.checkpoint")
MB = 1 << 20


def forge(path, change, to=None):
    """Write `path` again, or to another path, as `change(arrays, metadata)` leaves what it holds; the hash is made right."""
    arrays, metadata = load_arrays(path, *FORMATS)
    arrays = dict(arrays)
    change(arrays, metadata)
    save_arrays(to or path, arrays, metadata)
    return to or path


@contextlib.contextmanager
def refused(*parts, memory=300 * MB):
    """The body must raise a UserError of one line, of bounded length, that holds `parts`, and take little memory on the way."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError) as error:
        yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < memory
    text = str(error.value)
    assert text.isprintable() and len(text) < 1000, text
    for part in parts:
        assert part in text, text


def contents(folder):
    """{path: bytes} of all files in a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
