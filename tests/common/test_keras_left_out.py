"""TensorFlow is imported without Keras, which still loads when it is asked for."""
import subprocess
import sys

import jobs

CODE = """
import sys
from common.quiet import import_tensorflow
tf = import_tensorflow(threads=1)
assert not any(name.split('.')[0] == 'keras' for name in sys.modules), 'Keras was imported'
assert tf.keras.layers.Dense(3)(tf.ones([2, 4])).shape == (2, 3)
"""


def test_keras_loads_when_it_is_first_used_and_not_before():
    finished = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=jobs.ROOT, timeout=120)
    assert finished.returncode == 0, finished.stderr[-1000:]
