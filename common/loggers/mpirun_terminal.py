"""The terminal on which the launcher of this rank's job was started, found through Linux's /proc.

A launcher gives its ranks pipes and passes on what they say, so that none of them sees a terminal; rank 0 may draw on the launcher's own all the same.
"""

import contextlib
import os
import stat
import sys
from pathlib import Path

NAMES = ("mpirun", "mpiexec", "orterun", "prterun")
PROXIES = ("hydra_", "orted", "prted")  # which stand between a launcher and its ranks
# beginnings of options by which a launcher labels what ranks say, or puts it elsewhere
DIVERTING = ("prepend", "outfile", "errfile", "output", "tag-output", "timestamp-output")


class MpirunTerminal:
    """A launcher's standard output, which is a terminal.

    Args:
        pid: the launcher's.

    Attributes:
        stream: a text stream to it.
        takes_errors: whether what ranks say on standard error comes there, too.

    Raises:
        OSError: if it is no terminal, or may not be opened.
    """

    def __init__(self, pid):
        import termios  # which is where /proc is

        self.pid, output = pid, f"/proc/{pid}/fd/1"
        self.written = self._bytes_written()
        if not stat.S_ISCHR(os.stat(output).st_mode):  # to open a pipe might wait for ever
            raise OSError(f"{output} is no terminal")
        self.shows_stderr = os.path.samefile(output, f"/proc/{pid}/fd/2")
        # not to become this process's controlling terminal, whose end and whose Ctrl-C would then be its own
        self.stream = os.fdopen(os.open(output, os.O_WRONLY | os.O_NOCTTY), "w", encoding=sys.stdout.encoding)
        if (
            not self.stream.isatty() or termios.tcgetattr(self.stream)[3] & termios.TOSTOP
        ):  # which would stop whoever is not in the foreground
            self.stream.close()
            raise OSError(f"{output} cannot be drawn on")

    def written_by_others(self):
        """Whether the launcher has written something since it was last asked: other ranks' words, or its own."""
        before = self.written
        with contextlib.suppress(OSError):  # it has ended
            self.written = self._bytes_written()
        return self.written != before

    def _bytes_written(self):
        lines = Path(f"/proc/{self.pid}/io").read_text(encoding="ascii").splitlines()
        return int(dict(line.split(": ") for line in lines)["wchar"])


def find_mpirun_terminal():
    """Where a launcher passes on what this process says on standard output.

    Returns:
        (whether one does, the `MpirunTerminal` to which it comes or None). None, too, in every doubt: the launcher is on another host, in the background,
        or labels or diverts what it passes on.
    """
    passed_on = False
    try:
        for pid, name, in_foreground in ancestors():
            passed_on = passed_on or (name.startswith((*NAMES, *PROXIES)) and listens(pid))
            if name.startswith(NAMES):
                return passed_on, MpirunTerminal(pid) if passed_on and in_foreground and not diverts(pid) else None
    except (OSError, ValueError, KeyError, ImportError):
        pass
    return passed_on, None


def ancestors():
    """Yields (process id, name, whether it is in the foreground of its terminal) of this process's parent, its parent, and so on."""
    pid = os.getppid()
    while pid:
        name, _, rest = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").partition("(")[2].rpartition(")")
        )
        parent, group, _, _, foreground = map(int, rest.split()[1:6])
        yield pid, name, group == foreground
        pid = parent


def listens(pid):
    """Whether a process has the other end of this one's standard output: of a pipe, or of a terminal, of which Open MPI makes one for each rank."""
    own = os.readlink("/proc/self/fd/1")
    terminal = f"tty-index:\t{own.removeprefix('/dev/pts/')}\n"
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        theirs = os.readlink(entry)
        if own.startswith("pipe:") and theirs == own and entry.lstat().st_mode & stat.S_IRUSR:
            return True
        if theirs.endswith("/ptmx") and terminal in Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text(
            encoding="ascii"
        ):
            return True
    return False


def diverts(pid):
    """Whether a launcher's options label what ranks say, or put it elsewhere."""
    words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    options = [word.lstrip("-") for word in words if word.startswith("-")]
    return any(option == "l" or option.startswith(DIVERTING) for option in options)
