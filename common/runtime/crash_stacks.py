"""Writes the Python stacks of all threads to stderr and to a file when a fatal signal kills this process.

After SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT no Python code runs. `faulthandler` writes the stacks, but to one file
descriptor only. That is a pipe here; a shell at its other end forwards them to stderr and to the file.

Existing signal handlers are never replaced: pytest's, or those of another language's virtual machine in this process,
which may need these signals itself.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from common.runtime.helper_shell import HelperShell, duplicate_stderr

# $1: the line before the stacks. $2: the file, or nothing. The file is written first, and stderr by a second
# process, because nobody may read stderr. Signals to the job are ignored: the shell ends when the pipe is closed.
FORWARD_SCRIPT = r"""
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
CRASH_SIGNALS = {
    getattr(signal, name) for name in ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT") if hasattr(signal, name)
}


class Rank(Protocol):
    """What is needed of a `Communicator`."""

    rank: int

    def label(self) -> str:
        """Return this rank's name in messages."""


def signal_name(number: int) -> str:
    """Return "SIGSEGV" for 11, and "40" for a real-time signal, which has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


class CrashStacks:
    """The destinations of this process's stacks. `stacks` is the only instance, because signals are per process."""

    def __init__(self) -> None:
        self._stderr: int | None = None  # a duplicate; None while this package does not handle the signals
        self._targets: list[tuple[str, str]] = []  # (line before the stacks, file or ""); the last one is active
        self._shell: HelperShell | None = None
        self._lock = threading.RLock()

    def enable(self, replace: bool = False) -> bool:
        """Write stacks to stderr unless the signals are handled already; return whether this object handles them.

        Args:
            replace: replace an existing handler, such as one that the interpreter's options have enabled. For
                processes that belong to this package.
        """
        with self._lock:
            if self._stderr is None and (replace or not has_crash_handler()):
                with contextlib.suppress(OSError):  # out of descriptors
                    self._stderr = duplicate_stderr()
                    faulthandler.enable(self._stderr)
                    atexit.register(self._end)
            return self._stderr is not None

    def push_target(
        self, comm: Rank, directory: str | os.PathLike[str] | None = None, hint: str | None = None
    ) -> Callable[[], None]:
        """Write stacks to stderr, after a line that names this rank, and to a file from now on.

        Args:
            comm: the communicator of all ranks.
            directory: a run's `ranks` directory, which need not exist; `<rank>.stacks` in it is replaced when the
                process is killed. None for no file.
            hint: what to do after a crash.

        Returns:
            A function () that restores the previous destination.
        """
        file = os.path.abspath(Path(directory) / f"{comm.rank}.stacks") if directory else ""
        parts = [
            f"{comm.label()} was killed by a signal",
            f"its stacks follow{f', and are in {file}' if file else ''}",
            hint,
        ]
        target = "; ".join(filter(None, parts)), file
        with self._lock:
            if not self.enable() or file and any(file == other for _, other in self._targets):
                return lambda: None
            self._targets.append(target)
            self._renew()

        def pop() -> None:
            with self._lock:
                self._targets.remove(target)
                self._renew()

        return pop

    def _end(self) -> None:
        with self._lock:
            self._renew(at_exit=True)

    def _renew(self, at_exit: bool = False) -> None:
        """Start a shell for the last target. At exit, write to stderr only, so that the shell ends before Python."""
        previous, self._shell = self._shell, None
        assert self._stderr is not None, "enable() must have succeeded"
        if self._targets and not at_exit:
            with contextlib.suppress(OSError):
                self._shell = HelperShell("crash stacks", FORWARD_SCRIPT, list(self._targets[-1]), self._stderr)
        faulthandler.enable(self._shell.pipe if self._shell else self._stderr)
        if previous:
            previous.close()


def has_crash_handler() -> bool:
    """Return whether this process already handles segmentation faults."""
    if faulthandler.is_enabled():
        return True
    with contextlib.suppress(OSError, StopIteration):  # Linux only
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGSEGV - 1) & 1)
    return False


stacks = CrashStacks()
