"""Last resort for a stall that holds Python's global lock, during which no Python thread runs, not even the watchdog.

`faulthandler.dump_traceback_later` starts a thread in C that writes all stacks to a pipe unless it is re-armed in time.
A shell at the other end kills the process. It waits for two timeouts in a row, because a process that was suspended
(SIGSTOP) reports one when it continues, and is then re-armed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import threading
import time

from common.runtime.helper_shell import HelperShell, duplicate_stderr

# $1: this process's id. $2: the message. Each dump begins with a line "Timeout (0:00:15)!".
SCRIPT = r"""
trap '' HUP INT QUIT PIPE TERM USR1 USR2
timeouts=0 stacks=
while IFS= read -r line; do
    case $line in
        alive) timeouts=0 stacks= ;;
        'Timeout ('*) timeouts=$((timeouts + 1)) ;;
        *) [ $timeouts = 1 ] && stacks="$stacks$line
" ;;
    esac
    if [ $timeouts = 2 ]; then
        printf '%s\n%s' "$2" "$stacks" >&2
        kill -KILL "$1"
        exit
    fi
done
"""
ALIVE = b"alive\n"
CLOSE_TIMEOUT = 2.0  # seconds


class LockWatchdog:
    """Kills this process if it does not call `rearm` in time.

    Does nothing where there is no POSIX shell. The watchdog's thread and the main thread may call it at the same time.

    Args:
        label: this rank's label, for the message.
    """

    def __init__(self, label: str):
        self._message = f"{label}: no progress, and Python's global lock is held; its stacks follow"
        self._shell: HelperShell | None = None
        self._armed_at = 0.0
        self._interval = math.inf
        self._closed = False
        self._lock = threading.Lock()  # the pipe's descriptor may be another file's once it is closed

    def rearm(self, timeout: float) -> None:
        """Kill the process unless this is called again within `timeout` seconds; infinite: never kill it."""
        with self._lock:
            if not self._closed:
                self._rearm(timeout)

    def _rearm(self, timeout: float) -> None:
        if self._shell is None and timeout < math.inf:
            self._start()
        if self._shell is None or self._closed:  # closed while the shell was started
            return
        now = time.monotonic()
        if timeout == math.inf:
            faulthandler.cancel_dump_traceback_later()
        else:
            faulthandler.dump_traceback_later(timeout / 2, repeat=True, file=self._shell.pipe)
        if now - self._armed_at >= self._interval:  # there may have been a dump
            with contextlib.suppress(OSError):
                os.write(self._shell.pipe, ALIVE)
        self._armed_at = now
        self._interval = timeout / 2

    def _start(self) -> None:
        stderr = duplicate_stderr()
        try:
            self._shell = HelperShell("lock watchdog", SCRIPT, [str(os.getpid()), self._message], stderr)
        except OSError:  # no shell, or no more processes
            self._closed = True
        finally:
            os.close(stderr)

    def close(self) -> None:
        """Stop the timer and the shell."""
        self._closed = True
        if not self._lock.acquire(timeout=CLOSE_TIMEOUT):  # the other thread hangs, and may use the pipe again
            faulthandler.cancel_dump_traceback_later()
            return
        try:
            shell, self._shell = self._shell, None
            if shell is not None:
                faulthandler.cancel_dump_traceback_later()
        finally:
            self._lock.release()
        if shell is not None:
            shell.close()
