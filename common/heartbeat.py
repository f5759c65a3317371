"""What every rank is doing, on disk, and a watch over it that ends a job which has come to a stand.

Each rank keeps a record of a few hundred bytes in a memory-mapped file: writing it costs microseconds and no system call, and what it says
last outlives the process, however that ends. A thread of each rank looks once a second whether its own rank goes on, and, while that waits
for the others, whether they do.
"""
import json
import mmap
import os
import socket
import sys
import threading
import time
import traceback
from pathlib import Path

from common.writing import writing

SIZE = 512  # bytes of a record
TICK = 1.0  # seconds between looks
COMPILING = 600.0  # seconds that compiling is given at least: it ends, but how soon depends on the machine
GRACE = 5  # ticks that a stalled rank is given to report itself, before those that wait for it do


def read_heartbeats(folder):
    """{rank: record} of a run's `ranks` folder; records that cannot be read are left out."""
    found = {}
    for path in Path(folder).glob("*.json"):
        try:
            found[int(path.stem)] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # not a rank's, or just being written
    return found


def in_words(record):
    """'rank 3 on host h: collect, iteration 17, step 512'."""
    where = f"{record['phase']}, iteration {record['iteration']}" + (f", step {record['step']}" if record["phase"] == "collect" else "")
    return f"rank {record['rank']} on host {record['host']}: {where}{', waiting for the others' if record['waiting'] else ''}"


def file_in(path):
    """A new file, in a folder that is made if it is not there."""
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)  # it may have another name, in a copy of the folder
    return open(path, "w+b")


class Heartbeat:
    """One rank's record, and the watch.

    Args:
        comm: the ranks.
        folder: where the records of all ranks are; None keeps none.
        timeout: seconds without progress after which the job ends; 0 never ends it. Time for which the process itself was stopped does not count.
        before_end: function () called before the job is ended, such as to give the terminal back; it is given two seconds.

    Attributes:
        step: the step of a segment that is being collected; the collector writes it.
    """

    def __init__(self, comm, folder=None, timeout=0.0, before_end=None):
        self.comm, self.folder, self.timeout, self.before_end = comm, folder, timeout, before_end
        self.host, self.main_thread = socket.gethostname(), threading.get_ident()
        self.step = 0
        self.map = self.thread = None
        self.where, self.since = ("start", 0), time.time()
        self.ended = threading.Event()
        if folder is not None:
            path = Path(folder) / f"{comm.rank}.json"
            with writing(path), file_in(path) as file:
                file.write(b" " * SIZE)
                file.flush()
                self.map = mmap.mmap(file.fileno(), SIZE)
        self._write()

    def start(self):
        """Start to watch; `close` ends it."""
        if self.map is not None or self.timeout:
            self.thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)
            self.thread.start()
        return self

    def phase(self, name, iteration):
        """What this rank does from now on."""
        self.where, self.since, self.step = (name, iteration), time.time(), 0
        self._write()

    def close(self, last="ended"):
        """End the watch; `last` is what the record says from now on."""
        self.ended.set()
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join()
        self.phase(last, self.where[1])
        if self.map is not None:
            self.map.close()
            self.map = None

    def record(self):
        """What the file holds."""
        name, iteration = self.where
        return {"rank": self.comm.rank, "host": self.host, "pid": os.getpid(), "phase": name, "iteration": iteration, "step": self.step,
                "collectives": self.comm.collectives, "waiting": self.comm.waiting, "since": round(self.since, 3), "written": round(time.time(), 3)}

    def _write(self):
        if self.map is not None:
            text = json.dumps(self.record()).encode()[:SIZE - 1]
            self.map[:] = text + b" " * (SIZE - 1 - len(text)) + b"\n"

    # ---- the watch

    def _watch(self):
        own, others = Stillness(), Stillness()
        while not self.ended.wait(TICK):
            self._write()
            record = self.record()
            if not self.timeout:
                continue
            still = own.ticks(progress_of(record)) * TICK
            if not self.comm.waiting:
                if still >= self._patience([record]):
                    self._end(f"no progress for {still:.0f} s in {self._place(record)}")
                continue
            everyone = read_heartbeats(self.folder) if self.folder is not None else {}
            working = {rank: progress_of(one) for rank, one in everyone.items() if rank < self.comm.size and not one["waiting"]}
            still = others.ticks((progress_of(record), tuple(sorted(working.items())))) * TICK
            if still >= self._patience([everyone[rank] for rank in working]) + GRACE * TICK:
                stalled = "; ".join(in_words(everyone[rank]) for rank in sorted(working)) if working else \
                    "all ranks wait for each other: is a host or the network down?" if everyone else "the others do not come"
                self._end(f"has waited {still:.0f} s for other ranks: {stalled}")

    def _patience(self, records):
        return max(self.timeout, COMPILING) if any(record["phase"] == "compile" for record in records) else self.timeout

    def _place(self, record):
        """Where this rank stands: the phase, and the innermost line of Python."""
        stack = traceback.extract_stack(sys._current_frames()[self.main_thread])
        inner = stack[-1]
        return f"{in_words(record).partition(': ')[2]}, at {inner.filename}:{inner.lineno} in {inner.name}()"

    def _end(self, reason):
        reason += "; the last checkpoint is whole: go on with --resume, or with a longer --stall-timeout if this is no fault"
        if self.before_end is not None:
            giving_back = threading.Thread(target=self.before_end, daemon=True)
            giving_back.start()
            giving_back.join(2)
        self.where = (f"stalled in {self.where[0]}", self.where[1])
        self._write()
        self.comm.abort(reason, at_once=True)


class Stillness:
    """For how many looks in a row something has been the same."""

    def __init__(self):
        self.last, self.count = None, 0

    def ticks(self, seen):
        """The looks since `seen` last was something else."""
        self.count = self.count + 1 if seen == self.last else 0
        self.last = seen
        return self.count


def progress_of(record):
    """What changes in a record as long as its rank goes on."""
    return tuple(record[name] for name in ("phase", "iteration", "step", "collectives"))
