"""Heartbeat: what every rank is doing, on disk.

Each rank writes a record of a few hundred bytes to `ranks/<rank>.json`, at every change of phase and once a second. The
operating system keeps it when the process ends, however it ends. `common.distributed.watchdog` checks the records.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from common.runtime import os_features
from common.storage.write_errors import raises_write_error

POLL_INTERVAL = 1.0  # seconds between two records, and between two checks of the watchdog
RECORD_BYTES = 512
INT_FIELDS = ("rank", "iteration", "step", "collectives")
TEXT_FIELDS = ("host", "phase")
BOOL_FIELD = "waiting"
Record = dict[str, Any]


class Ranks(Protocol):
    """The attributes of a `Communicator` that a heartbeat reads."""

    rank: int
    size: int
    hosts: list[str]
    in_collective: bool
    collective_count: int


def read_heartbeats(directory: str | os.PathLike[str]) -> dict[int, Record]:
    """Return {rank: record} of a run's `ranks` directory, without files that are not valid records."""
    records = {}
    for path in Path(directory).glob("*.json"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            ints = all(type(record[name]) is int for name in INT_FIELDS)
            texts = all(type(record[name]) is str for name in TEXT_FIELDS)
            if ints and texts and type(record[BOOL_FIELD]) is bool:
                records[int(path.stem)] = record
        except (OSError, ValueError, TypeError, KeyError):
            continue  # another file, or one that is being written
    return records


def open_new_file(path: Path) -> int:
    """Create a file, and its directory if necessary, and return its descriptor."""
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)  # a hard link in a copy of the directory must keep the old record
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)


class Heartbeat:
    """One rank's record.

    Args:
        comm: the communicator of all ranks.
        directory: where the records of all ranks are; None writes none until `open_file` is called.

    Attributes:
        step: the current step of the segment; written by the collector.
        current_phase: (phase, iteration).
        failure: (exit status, message still to be printed or None) once this rank has failed.
        peer_records: {rank: record} of all ranks, last read while this one waited in a collective.
        main_thread: id of the thread that created the heartbeat.
        ended: set by `close`.
    """

    def __init__(self, comm: Ranks, directory: str | os.PathLike[str] | None = None):
        self.comm = comm
        self.directory: str | os.PathLike[str] | None = None
        self.main_thread = threading.get_ident()
        self.step = 0
        self.current_phase = ("start", 0)
        self.failure: tuple[int, str | None] | None = None
        self.peer_records: dict[int, Record] = {}
        self.ended = threading.Event()
        self._since = time.time()
        self._file: int | None = None
        self._writer: threading.Thread | None = None
        self._started = False
        self._lock = threading.Lock()
        if directory is not None:
            self.open_file(directory)

    def open_file(self, directory: str | os.PathLike[str]) -> None:
        """Write the record to a run's `ranks` directory from now on.

        Raises:
            WriteError: if the file cannot be created.
        """
        path = Path(directory) / f"{self.comm.rank}.json"
        with raises_write_error(path):
            self._file = open_new_file(path)
        self.directory = directory
        self.write()
        if self._started:
            self._start_writer()

    def start(self) -> Heartbeat:
        """Write the record once a second, until `close`."""
        self._started = True
        if self._file is not None:
            self._start_writer()
        return self

    def _start_writer(self) -> None:
        # a separate thread: a file system that hangs must not block the watchdog
        self._writer = threading.Thread(target=self._write_and_read, name="heartbeat", daemon=True)
        self._writer.start()

    def _write_and_read(self) -> None:
        while not self.ended.wait(POLL_INTERVAL):
            self.write()
            if self.comm.in_collective and self.directory is not None:
                self.peer_records = read_heartbeats(self.directory)

    def set_phase(self, name: str, iteration: int | None = None) -> None:
        """Record what this rank does from now on; in the current iteration by default."""
        self.current_phase = (name, self.current_phase[1] if iteration is None else iteration)
        self._since = time.time()
        self.step = 0
        self.write()

    def mark_failed(self, status: int, message: str | None = None) -> None:
        """Record that this rank has failed and cleans up.

        If that takes too long, the watchdog prints `message` and ends the process with `status`.
        """
        if self.failure is None:
            self.set_phase(f"failed in {self.current_phase[0]}")
        self.failure = status, message

    def mark_stalled(self) -> None:
        """Change the phase to "stalled in PHASE"; writes nothing, because the disk may be what hangs."""
        phase, iteration = self.current_phase
        self.current_phase = (f"stalled in {phase}", iteration)

    def close(self, last_phase: str = "ended") -> None:
        """Stop writing, the first time it is called; `last_phase` is the last record's."""
        if self.ended.is_set():
            return
        self.ended.set()
        if self._writer is not None:
            self._writer.join(2 * POLL_INTERVAL)
        self.set_phase(last_phase)
        # if the writer still hangs in the file system, the file stays open, so that no other gets its descriptor
        if self._lock.acquire(timeout=POLL_INTERVAL):
            try:
                if self._file is not None:
                    os.close(self._file)
                self._file = None
            finally:
                self._lock.release()

    def record(self) -> Record:
        """Return the record that the file contains."""
        phase, iteration = self.current_phase
        return {
            "rank": self.comm.rank,
            "host": self.comm.hosts[self.comm.rank],
            "pid": os.getpid(),
            "phase": phase,
            "iteration": iteration,
            "step": self.step,
            "collectives": self.comm.collective_count,
            "waiting": self.comm.in_collective,
            "since": round(self._since, 3),
            "written": round(time.time(), 3),
        }

    def write(self) -> None:
        """Write the record to its file, if there is one.

        A failed write does not end the run, and another write that hangs is not waited for.
        """
        if not self._lock.acquire(timeout=POLL_INTERVAL):
            return
        try:
            if self._file is None:
                return
            text = json.dumps(self.record()).encode()[: RECORD_BYTES - 1]
            with contextlib.suppress(OSError):
                os_features.write_over(self._file, text + b" " * (RECORD_BYTES - 1 - len(text)) + b"\n")
        finally:
            self._lock.release()
