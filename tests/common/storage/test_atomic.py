"""Atomic writes leave the old state or the new one, and no temporary files."""

import resource

import pytest

from common.storage.atomic import TEMP_PATTERN, atomic_directory, atomic_write, temp_path


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    """A limit of 100 bytes on the file size has the effect of a full disk."""
    path = tmp_path / "file"
    atomic_write(path, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError):
            atomic_write(path, b"new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_failed_rename_leaves_no_other_file(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError):
        atomic_write(tmp_path / "file", b"new")
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_new_file_replaces_all_of_the_old_one(tmp_path):
    for data in (b"a long first version", b"short"):
        atomic_write(tmp_path / "file", data)
        assert (tmp_path / "file").read_bytes() == data
    assert len(list(tmp_path.iterdir())) == 1


def test_temporary_names_match_the_pattern_by_which_they_are_cleaned_up(tmp_path):
    names = {temp_path(tmp_path / ("x" * 250), suffix).name for suffix in (".part", ".part.gif") for _ in range(100)}
    assert len(names) == 200
    assert all(TEMP_PATTERN.fullmatch(name) and len(name) < 250 for name in names)


def test_a_directory_appears_complete_or_not_at_all(tmp_path):
    with atomic_directory(tmp_path / "made") as temporary:
        (temporary / "file").write_bytes(b"data")
        assert not (tmp_path / "made").exists()
    assert (tmp_path / "made/file").read_bytes() == b"data"
    with pytest.raises(KeyError), atomic_directory(tmp_path / "failed") as temporary:
        (temporary / "file").write_bytes(b"data")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_an_existing_directory_is_not_overwritten(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").touch()
    with pytest.raises(OSError), atomic_directory(tmp_path / "taken"):
        pass
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["file"]
    assert len(list(tmp_path.iterdir())) == 1
