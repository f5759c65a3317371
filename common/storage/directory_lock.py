"""A folder that one process has to itself for as long as it lives."""

import contextlib
import errno
import os
import weakref
from pathlib import Path

from common.errors import UserError
from common.hints import OTHER_RUN_DIR, OTHER_SWEEP_DIR
from common.runtime import os_features


class DirectoryLock:
    """A lock on a folder; it goes with the process, however that ends.

    Args:
        path: the folder.
        what: whose it is, "run" or "sweep", for what is said.

    Attributes:
        warning: one line, if the filesystem, or the system, has no locks; else None.

    Raises:
        UserError: if a process that is still alive has it. Nothing has been touched then.
        OSError: if the folder cannot be written.
    """

    def __init__(self, path, what="run"):
        self.path, self.warning = Path(path), None
        self.file = self._open()
        try:
            os_features.lock(self.file)
        except BlockingIOError as error:
            self.file.close()
            instead = {"run": OTHER_RUN_DIR, "sweep": OTHER_SWEEP_DIR}[what]
            raise UserError(f"{what} directory {path} is in use by a {what} that is still alive; {instead}") from error
        except OSError as error:
            self.warning = (
                f"{what} directory {path} cannot be locked ({error.strerror}); see to it that no other {what} uses it"
            )
        self.folder, self._close_folder = os.stat(self.path), lambda: None
        if os_features.CAN_OPEN_DIRECTORIES:
            number = os.open(self.path, os.O_RDONLY)  # held open, so that no other folder can have its number
            self.folder, self._close_folder = os.fstat(number), weakref.finalize(self, os.close, number)

    def _open(self):
        file = open(
            self.path / ".lock", "ab", opener=lambda path, flags: os.open(path, flags | os_features.NO_FOLLOW, 0o666)
        )
        weakref.finalize(self, file.close)
        return file

    def check(self):
        """Raises OSError if the path no longer leads to the folder that was locked, which may have been moved and another made; or if the lock was removed,
        and another process has taken a new one. Where none has, this one takes it."""
        if not os.path.samestat(self.folder, os.stat(self.path)):
            raise OSError(errno.ESTALE, "the run's folder has been replaced by another")
        with contextlib.suppress(FileNotFoundError):
            if self.warning or os.path.samestat(os.fstat(self.file.fileno()), os.stat(self.path / ".lock")):
                return
        self.file.close()
        self.file = self._open()
        try:
            os_features.lock(self.file)
        except BlockingIOError as error:
            raise OSError(errno.ESTALE, "its .lock was removed, and another process has taken it") from error

    def release(self):
        """Give the folder back."""
        self.file.close()
        self._close_folder()


def is_locked(path):
    """Whether a process that is still alive has a folder; never where there are no locks. OSError if its lock cannot be opened."""
    try:
        file = (Path(path) / ".lock").open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            os_features.lock(file, shared=True)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno not in os_features.WITHOUT_LOCKS:
                raise
    return False
