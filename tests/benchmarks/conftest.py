"""Fixtures of the benchmark tests."""

from pathlib import Path

import pytest

from benchmarks import paths


@pytest.fixture
def results_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary results directory, which result files and reports use."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path
