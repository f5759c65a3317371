"""The failure file of a run that a sweep has started."""

import json

import pytest

from common.storage.failure_file import FAILURE_FILE_VARIABLE, read_failure_reason, record_failure


def test_first_failure_is_recorded_and_read(tmp_path, monkeypatch):
    path = tmp_path / "failure.json"
    monkeypatch.setenv(FAILURE_FILE_VARIABLE, str(path))
    record_failure(2, "the first")
    record_failure(1, "a consequence on another rank")
    assert json.loads(path.read_text()) == {"status": 2, "reason": "the first"}
    assert read_failure_reason(path) == "the first"


def test_nothing_is_recorded_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv(FAILURE_FILE_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    record_failure(1, "it broke")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"reason": 1}', "{"])
def test_file_without_a_reason_is_no_error(content, tmp_path):
    path = tmp_path / "failure.json"
    if content is not None:
        path.write_text(content)
    assert read_failure_reason(path) is None
