"""The long benchmarks, importable, with results in a folder of a test's own."""

import pytest

from benchmarks.returns import training_queue
from benchmarks.returns.result_files import Results


@pytest.fixture
def results_here(tmp_path, monkeypatch):
    """The folder that results go to and come from."""
    monkeypatch.setattr(training_queue, "RESULTS", tmp_path)
    monkeypatch.setattr(Results.__init__, "__defaults__", (tmp_path,))
    return tmp_path
