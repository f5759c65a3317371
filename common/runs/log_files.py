"""The logs in a run's folder: which files they are, how long, and how they are taken back to a checkpoint. No link is followed on the way: what leads
elsewhere is refused, and what comes into a log's place after it was looked at is left alone."""

import contextlib
import errno
import os
import stat
from pathlib import Path

from common.errors import UserError
from common.hints import START_FROM_POLICY
from common.runtime import os_features
from common.storage.append_file import complete_lines
from common.storage.atomic import atomic_write
from common.storage.write_errors import WriteError, raises_write_error
from common.validation import check_int

ROWS = ("progress.csv", "progress.json", "evaluations.csv")
MONITOR, EVENTS = ".monitor.csv", "tb/events."


class RunLogFiles:
    """The logs that one rank of a run writes.

    Args:
        folder: the run's.
        rank: whose logs; None for those of all ranks.
    """

    def __init__(self, folder, rank=None):
        self.folder, self.rank, self.seen = Path(folder), rank, {}

    def is_log(self, name):
        """Whether a name in the folder is one of these logs'."""
        if name.endswith(MONITOR) and "/" not in name:
            return self.rank is None or name.startswith(f"{self.rank}.")
        return not self.rank and (name in ROWS or name.startswith(EVENTS) and name.count("/") == 1)

    def names(self):
        """Names in the folder of what is there, links and all, in order."""
        found = os.listdir(self.folder) if self.folder.is_dir() else []
        found += (
            [f"tb/{name}" for name in os.listdir(self.folder / "tb")]
            if "tb" in found and (self.folder / "tb").is_dir()
            else []
        )
        return sorted(filter(self.is_log, found))

    def sizes(self):
        """Bytes of each, by its name; they are on the disk, as a checkpoint that knows them will be."""
        sizes = {}
        for name in self.names():
            path = self.folder / name
            with (
                raises_write_error(path),
                path.open("rb" if os_features.CAN_OPEN_DIRECTORIES else "r+b") as file,
            ):  # Windows puts no file on the disk that is open for reading
                os.fsync(file.fileno())
                sizes[name] = os.fstat(file.fileno()).st_size
        return sizes

    def check(self, sizes):
        """Look at every log before one is cut.

        Args:
            sizes: bytes by name, a checkpoint's.

        Returns:
            [what is missing, in words], of logs that are shorter than that, or gone.

        Raises:
            UserError: where the system cannot cut them; for a log that is a link or no file, or that cannot be cut to its size.
            WriteError: for one that must not be written.
        """
        if not os_features.CAN_TRUNCATE_LOGS:
            raise UserError(
                f"to go on with the run in {self.folder}, its logs must be cut back, for which this system lacks what Linux and macOS have; "
                f"{START_FROM_POLICY}"
            )
        self.seen, missing = {}, []
        for name in self.names():
            path, size = self.folder / name, check_int(str(self.folder / name), sizes.get(name, 0))
            with raises_write_error(path), self._opened(name) as (file, _):
                found = os.fstat(file)
                if not stat.S_ISREG(found.st_mode):
                    raise UserError(f"{path} is no file; move it away")
                self.seen[name] = found.st_dev, found.st_ino
                if found.st_size < size:
                    missing.append(f"{name} has {found.st_size:,} of {size:,} bytes")
        return missing + [
            f"{name} is gone" for name, size in sizes.items() if size and self.is_log(name) and name not in self.seen
        ]

    def cut(self, sizes):
        """Take the logs that `check` has seen back to `sizes`: what was written after the checkpoint will be written again, and what is not in `sizes` is
        removed. One that is shorter keeps its whole rows. One that has another name, as in a copy of the folder by hard links, becomes a file of its own
        first: the copy stays what it is.
        """
        for name, seen in self.seen.items():
            path = self.folder / name
            with raises_write_error(path), self._opened(name) as (file, folder):
                found = os.fstat(file)
                if (found.st_dev, found.st_ino) != seen:
                    raise WriteError(errno.ESTALE, "another file has come into its place", str(path))
                if name not in sizes:
                    os.unlink(path.name, dir_fd=folder)
                    continue
                size = (
                    sizes[name]
                    if found.st_size >= sizes[name] or name.startswith(EVENTS)
                    else complete_rows_size(file, found.st_size, 2 if name.endswith(MONITOR) else 0)
                )
                if found.st_nlink > 1:
                    atomic_write(path, os.pread(file, size, 0))
                elif found.st_size > size:
                    os.ftruncate(file, size)

    @contextlib.contextmanager
    def _opened(self, name):
        """(descriptor of a log, descriptor of the folder it is in)."""
        with contextlib.ExitStack() as stack:

            def opened(name, flags, within=None):
                try:
                    number = os.open(name, flags | os.O_NONBLOCK | os.O_NOFOLLOW * (within is not None), dir_fd=within)
                except OSError as error:
                    if within is not None and stat.S_ISLNK(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode):
                        raise UserError(
                            f"{self.folder / name} is a link, and a run's logs are cut back only where they stand; "
                            "put what it leads to in its place"
                        ) from error
                    raise WriteError(error.errno, error.strerror, str(self.folder / name)) from error
                stack.callback(os.close, number)
                return number

            *inner, last = name.split("/")
            folder = opened(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            for part in inner:
                folder = opened(part, os.O_RDONLY | os.O_DIRECTORY, folder)
            yield opened(last, os.O_RDWR, folder), folder


def complete_rows_size(file, size, header):
    """How many of the first `size` bytes of a text file are complete rows; 0 if there are fewer than its `header` lines."""
    rows = complete_lines(os.pread(file, size, 0))
    return len(rows) if rows.count(b"\n") >= header else 0
