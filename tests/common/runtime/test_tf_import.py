"""TensorFlow is imported without Keras, which loads on first use, and suppressed messages are printed on an error."""

import importlib
import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jobs
import pytest

from common.runtime.tf_import import RefusingFinder, skip_keras_import, stderr_on_error_only

CODE = """
import sys
from common.runtime.tf_import import import_tensorflow, import_tfd
tf = import_tensorflow(threads=1)
assert float(import_tfd().Categorical(logits=[0.0, 0.0]).entropy()) > 0.69
assert not any(name.split('.')[0] == 'keras' for name in sys.modules), 'Keras was imported'
assert tf.keras.layers.Dense(3)(tf.ones([2, 4])).shape == (2, 3)
"""


def test_keras_is_loaded_on_first_use_only():
    finished = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=jobs.ROOT, timeout=120)
    assert finished.returncode == 0, finished.stderr[-1000:]


def test_only_the_thread_that_skips_a_package_does_not_import_it(tmp_path, monkeypatch):
    (tmp_path / "keras.py").write_text("HERE = True")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    with skip_keras_import():
        with pytest.raises(ImportError, match="keras is not imported here"):
            importlib.import_module("keras")
        assert importlib.util.find_spec("keras").origin == str(tmp_path / "keras.py")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(importlib.import_module, "keras").result().HERE
        assert importlib.import_module("keras").HERE  # imported already
    assert not any(isinstance(finder, RefusingFinder) for finder in sys.meta_path)
    monkeypatch.delitem(sys.modules, "keras")


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs a file in memory")
def test_suppressed_output_is_printed_on_an_error_even_without_disk_space(capfd, monkeypatch, tmp_path):
    with monkeypatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
        with stderr_on_error_only():
            os.write(2, b"chatter\n")
        with pytest.raises(KeyError), stderr_on_error_only():
            os.write(2, b"the reason\n")
            raise KeyError
    assert capfd.readouterr().err == "the reason\n"
