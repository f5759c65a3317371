"""What a process leaves that dies of a signal: Python's stacks of all its threads, on stderr and in a file.

After SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT no line of Python runs any more. `faulthandler` writes the stacks, to one descriptor alone: so that
is a pipe, and a shell at its other end, which outlives this process by as long as that takes, hands on what comes.

A handler of somebody else's is never replaced: pytest's, or that of another language's virtual machine in this process, which may live by such signals.
"""

import atexit
import contextlib
import faulthandler
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

# Words: what is said before the stacks; the file, or nothing. The file comes first: nobody may read stderr. Two processes, so that a full pipe does not
# keep the file from being whole. Signals to the job are not for it: it ends when the process has ended.
HAND_ON = r"""
trap '' HUP INT QUIT PIPE TERM USR1 USR2
IFS= read -r line || [ -n "$line" ] || exit 0
{ mkdir "${2%/*}"; rm -f "$2"; printf '%s %s\n' "$1" "$(date '+(%Y-%m-%dT%H:%M:%S%z)')" >>"$2"; } 2>/dev/null
{
    printf '%s\n' "$1"
    while :; do
        { printf '%s\n' "$line" >>"$2"; } 2>/dev/null
        printf '%s\n' "$line"
        IFS= read -r line || [ -n "$line" ] || break
    done
} | cat >&2
"""
CRASHES = {
    getattr(signal, name) for name in ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT") if hasattr(signal, name)
}
SHELL = "sh"
PATIENCE = 1.0  # seconds for which an end of the shell is waited for: a child that the process has forked may have the pipe, too


def signal_name(number):
    """'SIGSEGV' for 11; '40' for a real-time signal, which has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


class CrashStacks:
    """Where the stacks of this process go. There is one, `stacks`."""

    def __init__(self):
        self.stderr = (
            None  # a copy of the descriptor, which nothing redirects; None while somebody else may have the signals
        )
        self.kept, self.shell, self.lock = [], None, threading.RLock()

    def enable(self, ours=False):
        """Have stacks written to stderr, unless somebody handles the signals already.

        Args:
            ours: the process is this package's own, and what the interpreter's options have enabled is replaced.

        Returns:
            whether they are.
        """
        with self.lock:
            if self.stderr is None and (ours or not handled()):
                with contextlib.suppress(OSError):  # there may be no more descriptors
                    self.stderr = copy_of_stderr()
                    faulthandler.enable(self.stderr)
                    atexit.register(self._renew, at_end=True)
            return self.stderr is not None

    def keep(self, comm, folder=None, way_on=None):
        """Have them on stderr below a line that names this rank, and in `<rank>.stacks`, which is made then; one of an earlier process is replaced then.

        Args:
            comm: the ranks.
            folder: a run's `ranks` folder, which need not be there yet; None for no file.
            way_on: what to do after that, in words.

        Returns:
            a function () that ends it.
        """
        file = os.path.abspath(Path(folder) / f"{comm.rank}.stacks") if folder else ""
        words = "; ".join(
            filter(
                None,
                (f"{comm.name} died of a signal", f"its stacks follow{f', and are in {file}' if file else ''}", way_on),
            )
        )
        what = words, file
        with self.lock:
            if not self.enable() or file and any(file == one for _, one in self.kept):
                return lambda: None
            self.kept.append(what)
            self._renew()

        def end():
            with self.lock:
                self.kept.remove(what)
                self._renew()

        return end

    def _renew(self, at_end=False):
        """Hand stacks on as the newest `keep` says; at the end of the process let stderr have them, so that the shell ends before it."""
        before, self.shell = self.shell, None
        if self.kept and not at_end:
            with contextlib.suppress(OSError):
                self.shell = Shell(*self.kept[-1], self.stderr)
        faulthandler.enable(self.shell.pipe if self.shell else self.stderr)
        if before:
            before.close()


class Shell:
    """A process that waits for stacks.

    Args:
        words, file: `HAND_ON`'s.
        stderr: a descriptor.

    Attributes:
        pipe: the descriptor that takes them.

    Raises:
        OSError: if there is no such shell, or no process can be started.
    """

    def __init__(self, words, file, stderr):
        if (shell := shutil.which(SHELL)) is None or os.name != "posix":
            raise FileNotFoundError(SHELL)
        theirs, self.pipe = os.pipe()
        try:  # a session of its own: a terminal's signals, and those to a group, are not for it; / for it keeps no file system busy
            self.process = subprocess.Popen(
                [shell, "-c", HAND_ON, "crash stacks", words, file],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath)},
                start_new_session=True,
            )
        except BaseException:
            os.close(self.pipe)
            raise
        finally:
            os.close(theirs)

    def close(self):
        """End it."""
        os.close(self.pipe)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)


def copy_of_stderr():
    """A descriptor for what the process says, whatever is redirected later; of nothing where it has none."""
    for stream in (sys.stderr, sys.__stderr__):  # a notebook's has none of its own
        with contextlib.suppress(AttributeError, OSError, ValueError):
            return os.dup(stream.fileno())
    return os.open(os.devnull, os.O_WRONLY)


def handled():
    """Whether something in this process handles a segmentation fault."""
    if faulthandler.is_enabled():
        return True
    with contextlib.suppress(OSError, StopIteration):  # Linux tells
        caught = next(
            line
            for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
            if line.startswith("SigCgt:")
        )
        return bool(int(caught.split()[1], 16) >> (signal.SIGSEGV - 1) & 1)
    return False


stacks = CrashStacks()
