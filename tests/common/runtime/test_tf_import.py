"""TensorFlow is imported without Keras, which loads on first use, and suppressed messages are printed on an error."""

import os
import subprocess
import sys

import jobs
import pytest

from common.runtime.tf_import import stderr_on_error_only

CODE = """
import sys
from common.runtime.tf_import import import_tensorflow, import_tfd
tf = import_tensorflow(threads=1)
assert float(import_tfd().Categorical(logits=[0.0, 0.0]).entropy()) > 0.69
assert not any(name.split('.')[0] == 'keras' for name in sys.modules), 'Keras was imported'
for keras in tf.keras, tf.compat.v2.keras:  # two lazy modules
    assert keras.layers.Dense(3)(tf.ones([2, 4])).shape == (2, 3)
    assert keras.version().startswith('3.') and keras.version() != '3.', keras.version()
"""


def test_keras_is_loaded_on_first_use_only():
    finished = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=jobs.ROOT, timeout=120)
    assert finished.returncode == 0, finished.stderr[-1000:]


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
