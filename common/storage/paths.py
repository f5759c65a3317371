"""Paths that users give: `~` is expanded, and a file that is written at the end of a run is tested at its start."""

import errno
import os
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.formatting import safe_repr
from common.storage.atomic import temp_path
from common.storage.write_errors import user_error_on_os_error


def user_path(path: Any, name: str = "path") -> Path:
    """Return a path given by a user, with `~` and `~user` expanded to home directories.

    A shell does not expand them after a flag's `=`, in Python or in a file of settings.

    Args:
        path: text, bytes or an `os.PathLike`. `./~` is a directory with that name.
        name: what an error calls it.

    Returns:
        A `Path`; expanding it again returns the same path.

    Raises:
        UserError: if it is not a path, is empty, cannot name a file, or names an unknown user's home.
    """
    try:
        text = os.fsdecode(path)
    except TypeError as error:
        raise UserError(f"invalid {name}={safe_repr(path)}: must be text or a pathlib.Path") from error
    if not text:
        raise UserError(f"invalid {name}={safe_repr(path)}: must name a file or a directory; leave it out for none")
    expanded = os.path.expanduser(text)
    if text.startswith("~") and expanded.startswith("~"):
        user = safe_repr(text.split(os.sep)[0])
        raise UserError(
            f"invalid {name}={safe_repr(text)}: the home directory of {user} is unknown; give the full path, "
            "or ./~ for a directory with that name"
        )
    try:
        os.lstat(expanded)
    except ValueError as error:  # a NUL character
        raise UserError(f"invalid {name}={safe_repr(text)}: {error}; choose another path") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(f"invalid {name}={text!r}: {error.strerror}; choose a shorter path") from error
    found = Path(expanded)
    # Path shortens ./~ to ~, which a second call would expand
    return found.absolute() if found.parts and found.parts[0].startswith("~") else found


def file_path(path: Any, name: str = "path") -> Path:
    """Return the path of a file that will be written, like `user_path`, and create its directory.

    Raises:
        UserError: also if it is a directory or a device.
        OSError: if the system refuses.
    """
    found = user_path(path, name)
    if found.is_dir() or os.fsdecode(path).endswith(os.sep):
        raise UserError(f"{name} {found} is a directory; name a file in it")
    if found.exists() and not found.is_file():  # an atomic write would replace the device
        raise UserError(f"{name} {found} is a device or a pipe; name a regular file")
    make_directory(found.parent)
    return found


def writable_file(path: Any, name: str = "path") -> Path:
    """Return the path of a file that will be written, like `file_path`, after testing now that it can be.

    The test matters because the file's content may take hours to compute.

    Raises:
        UserError: also if the system refuses.
    """
    user_path(path, name)
    with user_error_on_os_error(f"{name} {os.fsdecode(path)}", "choose another place"):
        found = file_path(path, name)
        check_directory_writable(found.parent)
    return found


def make_directory(directory: Path) -> None:
    """Create a directory and its parents unless it exists.

    Raises:
        OSError: if the system refuses; NotADirectoryError if a file is in the way.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # its text, "File exists", would not tell the reader what is wrong
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory)) from error


def check_directory_writable(directory: Path) -> None:
    """Create a directory unless it exists, and create and delete a file in it.

    Raises:
        OSError: if either fails.
    """
    make_directory(directory)
    probe = temp_path(directory / "probe")
    probe.touch()
    probe.unlink(missing_ok=True)  # another host may have cleaned up
