"""What every rank is doing, on disk.

Each rank keeps a record of a few hundred bytes in a file: written at every change of phase and once a second, and kept by the system when the process
ends, however that ends. `common.distributed.watchdog` reads it.
"""

import contextlib
import json
import os
import socket
import threading
import time
from pathlib import Path

from common.distributed.watchdog import POLL_INTERVAL, Watchdog
from common.runtime import os_features
from common.storage.write_errors import raises_write_error

SIZE = 512  # bytes of a record
NUMBERS = ("rank", "iteration", "step", "collectives")  # of a record; and texts, and one that is true or false
TEXTS = ("host", "phase")


def read_heartbeats(folder):
    """{rank: record} of a run's `ranks` folder; records that cannot be read are left out."""
    found = {}
    for path in Path(folder).glob("*.json"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if (
                all(type(record[name]) is int for name in NUMBERS)
                and all(type(record[name]) is str for name in TEXTS)
                and type(record["waiting"]) is bool
            ):
                found[int(path.stem)] = record
        except (OSError, ValueError, TypeError, KeyError):
            continue  # not a rank's, or just being written
    return found


def file_in(path):
    """The descriptor of a new file, in a folder that is made if it is not there."""
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)  # it may have another name, in a copy of the folder
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)


class Heartbeat:
    """One rank's record, and the `Watchdog` over it.

    Args:
        comm: the ranks.
        folder: where the records of all ranks are; None keeps none, until `keep` says where.
        timeout: seconds without progress after which the job ends; 0 never ends it. Time for which the process itself was stopped does not count.
        wording: function from a message to what is said, such as `common.hints.in_flags`.

    Attributes:
        step: the step of a segment that is being collected; the collector writes it.
        before_end: function () called before the watch ends the job, such as to give the terminal back; it is given two seconds.
        failure: (exit status, words that are still to be said or None) once this rank has failed.
        everyone: the records of all ranks, as they were last read: while this one waits for the others.
    """

    def __init__(self, comm, folder=None, timeout=0.0, wording=str):
        self.comm, self.folder, self.timeout, self.wording = comm, None, timeout, wording
        self.host, self.main_thread = socket.gethostname(), threading.get_ident()
        self.step, self.on_abort, self.everyone = 0, None, {}
        self.file = self.watch = self.writer = self.failure = None
        self.where, self.since = ("start", 0), time.time()
        self.ended, self.lock = threading.Event(), threading.Lock()
        if folder is not None:
            self.keep(folder)

    def keep(self, folder):
        """Keep the record in a run's `ranks` folder from now on, where those of all ranks are."""
        path = Path(folder) / f"{self.comm.rank}.json"
        with raises_write_error(path):
            self.file = file_in(path)
        self.folder = folder
        self.write()
        if self.watch is not None:
            self._keep_writing()

    def start(self):
        """Start to watch; `close` ends it."""
        self.watch = Watchdog(self).start()
        if self.file is not None:
            self._keep_writing()
        return self

    def _keep_writing(self):
        """In a thread of its own: a file system that hangs holds up this alone, and not the watch."""
        self.writer = threading.Thread(target=self._write_and_read, name="heartbeat", daemon=True)
        self.writer.start()

    def _write_and_read(self):
        while not self.ended.wait(POLL_INTERVAL):
            self.write()
            if self.comm.waiting:
                self.everyone = read_heartbeats(self.folder)

    def phase(self, name, iteration=None):
        """What this rank does from now on, in the iteration that it did until now if none is given."""
        self.where, self.since, self.step = (name, self.where[1] if iteration is None else iteration), time.time(), 0
        self.write()

    def fail(self, status, words=None):
        """This rank has failed. What it closes from now on may take some seconds: then the watch says `words` and ends it with `status`."""
        if self.failure is None:
            self.phase(f"failed in {self.where[0]}")
        self.failure = status, words

    def close(self, last="ended"):
        """End the watch, the first time; `last` is what the record says from now on."""
        if self.ended.is_set():
            return
        self.ended.set()
        for thread in (self.watch and self.watch.thread, self.writer):
            if thread is not None:
                thread.join(2 * POLL_INTERVAL)
        self.phase(last)
        if self.file is not None:
            os.close(self.file)
            self.file = None

    def record(self):
        """What the file holds."""
        name, iteration = self.where
        return {
            "rank": self.comm.rank,
            "host": self.host,
            "pid": os.getpid(),
            "phase": name,
            "iteration": iteration,
            "step": self.step,
            "collectives": self.comm.collective_count,
            "waiting": self.comm.waiting,
            "since": round(self.since, 3),
            "written": round(time.time(), 3),
        }

    def write(self):
        """Bring the record to its file, if there is one. What the disk refuses is not worth a run, and a write that hangs is not waited for."""
        if self.file is None or not self.lock.acquire(timeout=POLL_INTERVAL):
            return
        try:
            text = json.dumps(self.record()).encode()[: SIZE - 1]
            with contextlib.suppress(OSError):
                os_features.write_over(self.file, text + b" " * (SIZE - 1 - len(text)) + b"\n")
        finally:
            self.lock.release()
