"""Writing a run's files: errors that name the file, and text files that grow by whole rows."""

import contextlib
import errno
import gc
import os
import stat
import time
import weakref

from common.errors import UserError
from common.runtime import os_features
from common.storage.paths import make_folder, user_path

ENDING = 10.0  # seconds that a writer is given to end: of a run that was killed, other ranks and worker processes live on for some
OPEN = weakref.WeakValueDictionary()  # (device, inode) -> `AppendOnlyFile`, of this process
ERRNO_HINTS = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "close other files",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.ENOENT: "see where it has gone",
    errno.ESTALE: "see where it has gone",
}


class WriteError(OSError):
    """A file of ours cannot be written: `errno`, `strerror` and `filename` as an OSError has them, in one line. The command line exits with 1.

    Never raised for what an environment or a callback of the user's does.
    """

    def __str__(self):
        return f"cannot write {self.filename}: {self.strerror}"

    @property
    def fix(self):
        """What to do about it."""
        return ERRNO_HINTS.get(self.errno, "mend that")


class InUse(UserError):
    """A file that grows by rows has a writer already.

    Attributes:
        path: the file.
        here: whether the writer is in this process.
    """

    def __init__(self, path, here):
        super().__init__(
            f"{path} has another writer already, an environment, a log or a process; give each a file of its own, or close the other first"
        )
        self.path, self.here = path, here


@contextlib.contextmanager
def writing(path):
    """A block that writes `path`: what the system refuses there is raised as `WriteError`, with the path if it does not name another."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error


class AppendOnlyFile:
    """A text file that grows by whole rows: each is with the system once it is written, and one for which there is no room leaves no part.

    It has one writer: rows of two would be mixed.

    Args:
        path: appended to if it is there, else made, with its folder.

    Raises:
        InUse: if it has a writer already, in this process or, where the file system has locks, in another.
        CannotWrite: here and in `write`.
    """

    def __init__(self, path):
        self.path = user_path(path)
        with writing(self.path):
            make_folder(self.path.parent)
            self.file = open(
                self.path, "ab", buffering=0
            )  # a buffer would keep what could not be written, and fail again when it is closed
        self._close = weakref.finalize(
            self, self.file.close
        )  # where nobody does: Python would warn of a file left open
        status = os.fstat(self.file.fileno())
        self.key = status.st_dev, status.st_ino
        if not stat.S_ISREG(status.st_mode):
            return  # /dev/null takes what many write
        if self.key in OPEN:
            gc.collect()  # it may be out of everybody's reach
        if self.key in OPEN or not self._lock():
            self._close()
            raise InUse(self.path, here=self.key in OPEN)
        OPEN[self.key] = self

    def _lock(self):
        """Lock it against other processes, which are given some time to end; False if one does not. Where there are no locks, it does without."""
        deadline = time.monotonic() + ENDING
        while True:
            try:
                os_features.lock(self.file)
                return True
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.1)
            except OSError:  # a system or a file system without locks
                return True

    def is_empty(self):
        """Whether it still needs its header."""
        return os.fstat(self.file.fileno()).st_size == 0

    def write(self, text):
        """Append text that ends with its line."""
        data, done, number = text.encode(), 0, self.file.fileno()
        with writing(self.path):
            try:
                while done < len(data):  # a disk that is getting full takes a part first
                    done += os.write(number, data[done:])
            except OSError:
                if done:
                    os.ftruncate(number, os.fstat(number).st_size - done)
                raise

    def close(self):
        """Let go of it."""
        if self._close.alive:
            OPEN.pop(self.key, None)
            os_features.unlock(self.file)  # or a process that was forked meanwhile would keep the lock
        self._close()
