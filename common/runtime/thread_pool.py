"""Threads that run functions side by side, never hold up what failed elsewhere, nor the end of the process, and can be asked where they stand."""

import atexit
import os
import queue
import sys
import threading
import time
import weakref
from concurrent.futures import FIRST_EXCEPTION, Future, wait

PEER_JOIN_TIMEOUT = 3.0  # seconds that the others are given to end once one has failed
PATIENCE = 2.0  # seconds that the end of the process gives to what is still under way, such as XLA's compiling, which cannot be ended half way


class NamedThreadPool:
    """As many threads as there are names, each with a function at a time. They end with this object.

    Args:
        names: of the threads; they tell which of them hangs.
    """

    def __init__(self, names):
        self.threads = [DaemonWorker(name) for name in names]
        for thread in self.threads:
            thread.start()
        weakref.finalize(self, shutdown, self.threads)

    def start(self, functions):
        """Let each thread run one of `functions`, () -> object; returns their `Future`s."""
        return [thread.begin(function) for thread, function in zip(self.threads, functions)]

    def results(self, futures):
        """What the functions returned, in their order; what one raised, as soon as it has, whatever the others still do."""
        _waits_for = self
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        if any(future.exception() for future in done):
            done, _ = wait(
                futures, timeout=PEER_JOIN_TIMEOUT
            )  # rather not under the hands of those that close what they work on
        return [future.result() for future in futures if future in done]

    def where(self):
        """Where the threads stand that have not come to an end, in words."""
        frames = sys._current_frames()
        return "; ".join(
            f"{place_of(frames[thread.ident])} ({thread.name})"
            for thread in self.threads
            if thread.busy and thread.ident in frames
        )


class DaemonWorker(threading.Thread):
    """One thread, which waits for functions.

    Attributes:
        busy: whether it has one.
    """

    def __init__(self, name):
        super().__init__(name=name, daemon=True)
        self.queue, self.busy = queue.SimpleQueue(), False

    def begin(self, function):
        """Run it; returns its `Future`."""
        future, self.busy = Future(), True
        self.queue.put((future, function))
        return future

    def run(self):
        """Take functions, one after the other, until it is dismissed."""
        while (order := self.queue.get()) is not None:
            future, function = order
            try:
                result, error = function(), None
            except BaseException as raised:
                result, error = None, raised
            self.busy = False
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
            del order, future, function, result, error


def shutdown(threads):
    """Let threads end after what they have."""
    for thread in threads:
        thread.queue.put(None)


@atexit.register
def force_exit_when_overdue(status=1):
    """Give what is under way some seconds; then end the process as it stands, with `status`: Python's own end would take the ground from under a
    library. Whoever knows the status registers this again: what is registered last comes first."""
    deadline = time.monotonic() + PATIENCE
    while any(isinstance(thread, DaemonWorker) and thread.busy for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        time.sleep(0.02)


def place_of(frame):
    """Where the thread of a frame stands, in words: its innermost line of Python.

    A function that waits for another thread or process holds what it waits for in a local `_waits_for`, whose `where()` says where that one stands.
    """
    inner = frame
    while frame is not None:
        if (waits_for := frame.f_locals.get("_waits_for")) is not None:
            return waits_for.where()
        frame = frame.f_back
    return f"at {inner.f_code.co_filename}:{inner.f_lineno} in {inner.f_code.co_name}()"
