"""What all tests share: quiet, single-threaded TensorFlow, and jobs of several ranks."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent / "support"))


@pytest.fixture
def cli_here(capfd):
    """The command line in this process, as a finished process tells it; spares a start of Python, and often of TensorFlow."""
    import jobs

    def run(*words):
        status = jobs.main_here(*words)
        said = capfd.readouterr()
        return subprocess.CompletedProcess(words, status, said.out, said.err)
    return run
