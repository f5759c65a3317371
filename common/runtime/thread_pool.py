"""Daemon threads that run functions in parallel. One that hangs delays neither another's error nor the exit."""

from __future__ import annotations

import atexit
import os
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any

from common.runtime.thread_location import blocked_on, describe_location

PEER_JOIN_TIMEOUT = 3.0  # seconds for the other threads to finish once one has failed
EXIT_TIMEOUT = 2.0  # seconds, at process exit, for busy threads: an XLA compilation cannot be interrupted


class NamedThreadPool:
    """One thread per name. Each runs one function at a time. The threads end with this object.

    Args:
        names: names of the threads, for messages about one that hangs.
    """

    def __init__(self, names: Sequence[str]):
        self.threads = [DaemonWorker(name) for name in names]
        for thread in self.threads:
            thread.start()
        weakref.finalize(self, shutdown, self.threads)

    def submit_all(self, functions: Sequence[Callable[[], Any]]) -> list[Future[Any]]:
        """Run one function in each thread and return their futures."""
        return [thread.submit(function) for thread, function in zip(self.threads, functions)]

    def gather(self, futures: list[Future[Any]]) -> list[Any]:
        """Return the functions' results, in order; raise what one of them raised without waiting for a hanging one."""
        caller = threading.get_ident()
        blocked_on[caller] = self
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            if any(future.exception() for future in done):
                # the caller will close what the other threads are working on
                done, _ = wait(futures, timeout=PEER_JOIN_TIMEOUT)
        finally:
            del blocked_on[caller]
        return [future.result() for future in futures if future in done]

    def describe_location(self) -> str:
        """Return where the busy threads are."""
        locations = [(describe_location(thread.ident), thread.name) for thread in self.threads if thread.busy]
        return "; ".join(f"{location} ({name})" for location, name in locations if location)


class DaemonWorker(threading.Thread):
    """A daemon thread that runs the functions submitted to it.

    Attributes:
        busy: whether a function is running or waiting to run.
    """

    def __init__(self, name: str):
        super().__init__(name=name, daemon=True)
        self.tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.busy = False

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Run a function and return its future."""
        future: Future[Any] = Future()
        self.busy = True
        self.tasks.put((future, function))
        return future

    def run(self) -> None:
        """Run submitted functions until `shutdown`."""
        while (task := self.tasks.get()) is not None:
            future, function = task
            try:
                result, error = function(), None
            except BaseException as raised:
                result, error = None, raised
            self.busy = False
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
            del task, future, function, result, error  # the next wait must not keep them alive


def shutdown(threads: list[DaemonWorker]) -> None:
    """Let threads end after their current function."""
    for thread in threads:
        thread.tasks.put(None)


@atexit.register
def force_exit_when_overdue(status: int = 1) -> None:
    """Wait up to `EXIT_TIMEOUT` for busy threads, then end the process with `status`.

    Interpreter shutdown can crash while a library thread, such as an XLA compilation, is running. Register this atexit
    hook again with the real exit status; hooks run in reverse order.
    """
    deadline = time.monotonic() + EXIT_TIMEOUT
    while any(isinstance(thread, DaemonWorker) and thread.busy for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        time.sleep(0.02)
