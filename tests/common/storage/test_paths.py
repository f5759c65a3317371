"""Paths as users give them: home, what no path can be, and files that are tried before there is anything to write."""

import os
from pathlib import Path

import pytest

from common.errors import UserError
from common.storage.atomic import temp_path
from common.storage.paths import user_path, writable_file


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The user's home; the current folder is beside it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.mark.parametrize("given", ["~/a/b", b"~/a/b", Path("~/a/b"), "~//a/b/"])
def test_a_tilde_is_home_however_the_path_is_given(given, home):
    assert user_path(given) == home / "a/b" == user_path(user_path(given))


def test_the_home_of_another_user_is_theirs_and_is_asked_of_the_system(home):
    assert user_path("~root/a") == Path("/root/a")


@pytest.mark.parametrize("given", ["a/b", "./a", "/a/b", "a/~/b", "$HOME/a", "C:\\a"])
def test_any_other_path_stays_what_it_is(given):
    assert user_path(given) == Path(given)


def test_a_folder_that_is_called_tilde_can_be_named(home):
    assert user_path("./~/a") == user_path(user_path("./~/a")) == home.parent / "here/~/a"


@pytest.mark.parametrize(
    ("given", "says"),
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
def test_what_can_be_no_path_is_refused_in_one_line(given, says):
    with pytest.raises(UserError) as error:
        user_path(given, "run_dir")
    assert says in str(error.value) and "run_dir" in str(error.value) and "\n" not in str(error.value)


def test_where_nobody_knows_a_home_a_tilde_is_refused(monkeypatch):
    monkeypatch.setattr(
        os.path, "expanduser", lambda path: path
    )  # as for a user whom neither HOME nor the system's list has
    with pytest.raises(UserError, match="the home directory of '~' is unknown; give the full path"):
        user_path("~/a")


def test_a_file_to_be_written_gets_its_folder_and_nothing_else_is_left(home):
    assert writable_file("~/a/b/file.gif") == home / "a/b/file.gif"
    assert [path.name for path in home.rglob("*")] == ["a", "b"]
    (home / "a/b/file.gif").write_text("before")
    writable_file("~/a/b/file.gif")
    assert (home / "a/b/file.gif").read_text() == "before"


@pytest.mark.parametrize(
    ("given", "says"),
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
def test_what_cannot_be_written_is_refused_in_one_line(given, says, home):
    Path("file").touch()
    Path("there").mkdir()
    with pytest.raises(UserError) as error:
        writable_file(given, "--video")
    assert str(error.value) in (says.format(path=given), says.format(path=given.rstrip("/")))
    assert sorted(path.name for path in Path().iterdir()) == ["file", "there"]


def test_writers_of_one_file_write_beside_each_other_whatever_its_name():
    names = {temp_path(Path("x" * 250)).name for _ in range(100)}
    assert len(names) == 100 and max(map(len, names)) < 120
