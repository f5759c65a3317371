"""Errors of writing a run's files, with the file's name and what to do about the cause."""

import contextlib
import errno
import os
from collections.abc import Iterator

from common.errors import UserError

ERRNO_HINTS = {
    errno.ENOSPC: "free some disk space",
    errno.EDQUOT: "free some disk space",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "close other files",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.ENOENT: "check who moved or deleted it",
    errno.ESTALE: "check who moved or deleted it",
}


class WriteError(OSError):
    """A file of a run cannot be written. The command line exits with 1.

    `errno`, `strerror` and `filename` are set as in any OSError. Never raised for I/O in a user's environment or
    callback.
    """

    def __str__(self) -> str:
        return f"cannot write {self.filename}: {self.strerror}"

    @property
    def hint(self) -> str:
        """The fix, such as "free some disk space"."""
        return ERRNO_HINTS.get(self.errno or 0, "fix the cause")


@contextlib.contextmanager
def raises_write_error(path: str | os.PathLike[str]) -> Iterator[None]:
    """Context manager for writing `path`: an OSError in it becomes a `WriteError` that names the file."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error


@contextlib.contextmanager
def user_error_on_os_error(target: object, hint: str = "") -> Iterator[None]:
    """Context manager for writing where the user asked for: an OSError in it becomes a `UserError`.

    Args:
        target: the path, with what it is if that helps, such as "run directory runs/1".
        hint: what to do, such as "choose another run_dir".
    """
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror}; {hint}" if hint else error.strerror
        raise UserError(f"cannot write to {target}: {reason}") from error
