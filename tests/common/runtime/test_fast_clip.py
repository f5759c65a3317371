"""np.clip without its layers, and np.clip itself for a NumPy that has its ufunc elsewhere."""

import importlib
import sys

import numpy as np
import pytest

from common.runtime import fast_clip


@pytest.mark.parametrize("private", [True, False])
def test_clips_as_numpy_does_wherever_numpy_keeps_its_ufunc(private, monkeypatch):
    with monkeypatch.context() as patched:
        if not private:
            patched.setitem(sys.modules, "numpy._core.umath", None)
        importlib.reload(fast_clip)
        assert (fast_clip.clip is not np.clip) == private
        x, out = np.array([[-3, 0.5, np.nan, 7]], np.float32), np.empty((1, 4), np.float32)
        expected = np.array([[-1, 0.5, np.nan, 2]], np.float32)
        np.testing.assert_array_equal(fast_clip.clip(x, np.float32(-1), np.float32(2)), expected)
        assert fast_clip.clip(x, np.float32(-1), np.float32(2), out) is out
        np.testing.assert_array_equal(out, expected)
    importlib.reload(fast_clip)
