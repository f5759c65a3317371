"""Paths that users give: home directories, invalid paths, and files that are tested before they are written."""

import os
from pathlib import Path

import pytest

from common.errors import UserError
from common.storage.paths import user_path, writable_file


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The user's home directory; the current directory is next to it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.mark.parametrize("given", ["~/a/b", b"~/a/b", Path("~/a/b"), "~//a/b/"])
def test_a_tilde_is_expanded_in_paths_of_any_type(given, home):
    assert user_path(given) == home / "a/b" == user_path(user_path(given))


def test_another_users_home_is_looked_up_in_the_system(home):
    assert user_path("~root/a") == Path("/root/a")


@pytest.mark.parametrize("given", ["a/b", "./a", "/a/b", "a/~/b", "$HOME/a", "C:\\a"])
def test_other_paths_are_unchanged(given):
    assert user_path(given) == Path(given)


def test_a_directory_named_tilde_can_be_given(home):
    assert user_path("./~/a") == user_path(user_path("./~/a")) == home.parent / "here/~/a"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "invalid run_dir='': must name a file or a directory"),
        (b"", "must name a file or a directory"),
        (3, "invalid run_dir=3: must be text or a pathlib.Path"),
        (None, "invalid run_dir=None: must be text or a pathlib.Path"),
        ("a\0b", "embedded null"),
        ("a" * 300, "File name too long"),
        ("~nobody-has-this-name/a", "the home directory of '~nobody-has-this-name' is unknown"),
    ],
)
def test_an_invalid_path_is_refused_in_one_line(given, message):
    with pytest.raises(UserError) as error:
        user_path(given, "run_dir")
    assert message in str(error.value) and "run_dir" in str(error.value) and "\n" not in str(error.value)


def test_a_tilde_is_refused_if_the_home_is_unknown(monkeypatch):
    # as for a user without HOME and without an entry in the system's list
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(UserError, match="the home directory of '~' is unknown; give the full path"):
        user_path("~/a")


def test_only_the_directory_of_a_file_to_be_written_is_created(home):
    assert writable_file("~/a/b/file.gif") == home / "a/b/file.gif"
    assert [path.name for path in home.rglob("*")] == ["a", "b"]
    (home / "a/b/file.gif").write_text("before")
    writable_file("~/a/b/file.gif")
    assert (home / "a/b/file.gif").read_text() == "before"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (".", "--video {path} is a directory; name a file in it"),
        ("there", "--video {path} is a directory; name a file in it"),
        ("new/", "--video {path} is a directory; name a file in it"),
        ("/dev/null", "--video {path} is a device or a pipe; name a regular file"),
        ("file/a", "cannot write to --video {path}: Not a directory; choose another place"),
        ("file/a/b", "cannot write to --video {path}: Not a directory; choose another place"),
        ("/proc/nobody/a", "cannot write to --video {path}: No such file or directory; choose another place"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused_in_one_line(given, message, home):
    Path("file").touch()
    Path("there").mkdir()
    with pytest.raises(UserError) as error:
        writable_file(given, "--video")
    assert str(error.value) in (message.format(path=given), message.format(path=given.rstrip("/")))
    assert sorted(path.name for path in Path().iterdir()) == ["file", "there"]
