"""The lists of test files in tests/conftest.py, and the order that they give the tests."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

TESTS = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("suite_conftest", TESTS / "conftest.py")
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)


@pytest.mark.parametrize("name", ["FAULTS", "NUMERIC", "LONG"])
def test_listed_files_exist(name):
    assert [path for path in getattr(conftest, name) if not (TESTS / path).exists()] == []


@pytest.mark.parametrize("workers", [2, 3])
def test_each_part_begins_with_long_files_and_no_test_is_lost(workers):
    long = [TESTS / name for name in conftest.LONG[:4]]
    files = [TESTS / f"test_short{i}.py" for i in range(10)] + long
    items = [SimpleNamespace(path=path, number=i) for path in files for i in range(2)]
    before = list(items)
    conftest.long_files_first(items, workers)
    assert len(items) == len(before) and all(any(item is other for other in items) for item in before)
    starts = [len(items) * worker // workers for worker in range(workers)]
    assert [items[start].path for start in starts] == long[:workers]
