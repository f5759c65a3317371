"""Writing a run's files: errors that name the file, and text files that grow by whole rows."""
import contextlib
import errno
import os

FIXES = {errno.ENOSPC: "make room", errno.EDQUOT: "make room", errno.EROFS: "make it writable", errno.EACCES: "make it writable",
         errno.EPERM: "make it writable", errno.EMFILE: "allow more open files (ulimit -n)", errno.ENFILE: "close other files",
         errno.EFBIG: "allow larger files (ulimit -f)", errno.ENOENT: "see where it has gone", errno.ESTALE: "see where it has gone"}


class CannotWrite(OSError):
    """A file of ours cannot be written: `errno`, `strerror` and `filename` as an OSError has them, in one line. The command line exits with 1.

    Never raised for what an environment or a callback of the user's does.
    """

    def __str__(self):
        return f"cannot write {self.filename}: {self.strerror}"

    @property
    def fix(self):
        """What to do about it."""
        return FIXES.get(self.errno, "mend that")


@contextlib.contextmanager
def writing(path):
    """A block that writes `path`: what the system refuses there is raised as `CannotWrite`, with the path if it does not name another."""
    try:
        yield
    except CannotWrite:
        raise
    except OSError as error:
        raise CannotWrite(error.errno, error.strerror or str(error), str(path)) from error


class RowFile:
    """A text file that grows by whole rows: each is with the system once it is written, and one for which there is no room leaves no part.

    Args:
        path: appended to if it is there.

    Raises:
        CannotWrite: here and in `write`.
    """

    def __init__(self, path):
        self.path = path
        with writing(path):
            self.file = open(path, "ab", buffering=0)  # a buffer would keep what could not be written, and fail again when it is closed

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
        self.file.close()
