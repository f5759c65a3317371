"""The long benchmarks, importable, with results in a folder of a test's own."""
import sys

import jobs
import pytest

sys.path.insert(0, str(jobs.ROOT / "benchmarks"))
import training_queue  # noqa: E402
from finished import Results  # noqa: E402


@pytest.fixture
def results_here(tmp_path, monkeypatch):
    """The folder that results go to and come from."""
    monkeypatch.setattr(training_queue, "RESULTS", tmp_path)
    monkeypatch.setattr(Results.__init__, "__defaults__", (tmp_path,))
    return tmp_path
