"""Paths that users give: `~` is home, and a file that will be written at the end is tried at the start."""

import errno
import os
import secrets
from pathlib import Path

from common.errors import UserError
from common.formatting import safe_repr


def user_path(path, name="path"):
    """A path that a user gave, with `~` and `~user` for homes: behind a flag's `=`, in Python and in a file of settings, no shell reads them.

    Args:
        path: text, bytes or an `os.PathLike`. `./~` is a folder of that name.
        name: what an error calls it.

    Returns:
        A `Path`; of that, the same again.

    Raises:
        UserError: if it is no path, an empty one, or one that no file can have; or if that home is not known.
    """
    try:
        text = os.fsdecode(path)
    except TypeError as error:
        raise UserError(f"{name}={safe_repr(path)} is no path; give text or a pathlib.Path") from error
    if not text:
        raise UserError(f"{name}={safe_repr(path)} names no file or folder; give one, or leave it out")
    expanded = os.path.expanduser(text)
    if text.startswith("~") and expanded.startswith("~"):
        raise UserError(
            f"{name}={safe_repr(text)}: the home of {safe_repr(text.split(os.sep)[0])} is not known; give the whole path, or ./~ for that name itself"
        )
    try:
        os.lstat(expanded)
    except ValueError as error:  # a NUL
        raise UserError(f"{name}={safe_repr(text)} cannot be: {error}; give another") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(f"{name}={text!r} cannot be: {error.strerror}; give a shorter one") from error
    found = Path(expanded)
    return (
        found.absolute() if found.parts and found.parts[0].startswith("~") else found
    )  # from ./~, which a Path shortens to ~: home, the next time


def beside(path, suffix=".part"):
    """Where a file or folder is written until it is whole: a name that no other process, thread or call has, and that is not too long.

    What a killed writer leaves in a run's folder under such a name is removed by `common.runs.run_directory`.
    """
    return path.with_name(f".{path.name[:50]}.{os.getpid()}.{secrets.randbits(40)}{suffix}")


def file_path(path, name="path"):
    """As `user_path`, of a file that will be written, whose folder is made.

    Raises:
        UserError: also if it is a folder or a device.
        OSError: for what the system refuses.
    """
    found = user_path(path, name)
    if found.is_dir() or os.fsdecode(path).endswith(os.sep):
        raise UserError(f"{name} {found} is a folder; name a file in it")
    if found.exists() and not found.is_file():
        raise UserError(
            f"{name} {found} is no file, but a device or a pipe; name a file"
        )  # which the file would replace
    make_folder(found.parent)
    return found


def writable_file(path, name="path"):
    """As `file_path`, and tried now: what the file will hold may take hours. UserError, too, for what the system refuses."""
    try:
        found = file_path(path, name)
        try_folder(found.parent)
    except OSError as error:
        raise UserError(
            f"{name} {os.fsdecode(path)} cannot be written: {error.strerror}; choose another place"
        ) from error
    return found


def make_folder(folder):
    """Make a folder, with those that it is in, unless it is there. OSError for what the system refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # "File exists" would say nothing to whoever wants to write into it
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error


def try_folder(folder):
    """Make a folder, and a file in it, which is removed again. OSError if either cannot be."""
    make_folder(folder)
    probe = beside(folder / "probe")
    probe.touch()
    probe.unlink(missing_ok=True)  # another host may clean up
