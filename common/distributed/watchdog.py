"""A watch over the ranks' `Heartbeat`s, which ends a job that has come to a stand.

A thread of each rank looks once a second whether its own rank goes on, and, while that waits for the others, whether they do. It touches no disk.
"""

import sys
import threading

from common.distributed.exit_guard import say
from common.hints import NOT_BEGUN, STALLED
from common.runtime.thread_pool import place_of

POLL_INTERVAL = 1.0  # seconds between looks
COMPILE_TIMEOUT = 600.0  # seconds that compiling is given at least: it ends, but how soon depends on the machine
STARTUP_TIMEOUT = (
    120.0  # seconds that a start is given at least, such as for TensorFlow's import on a machine that has much to do
)
CLEANUP_TIMEOUT = 5.0  # seconds that a rank which has failed is given to close its environments
GRACE = 5  # ticks that a stalled rank is given to report itself, before those that wait for it do
CLOSING = "the run had come to its end, and the policy is saved"  # of an environment that does not close


def in_words(record):
    """'rank 3 on host h: collect, iteration 17, step 512'."""
    where = f"{record['phase']}, iteration {record['iteration']}" + (
        f", step {record['step']}" if record["phase"] == "collect" else ""
    )
    return f"rank {record['rank']} on host {record['host']}: {where}{', waiting for the others' if record['waiting'] else ''}"


def way_on(records):
    """How to go on after a stall of ranks with these records, in words."""
    return NOT_BEGUN if any(record["phase"] == "start" for record in records) else STALLED


class Watchdog:
    """One rank's.

    Args:
        heartbeat: its `Heartbeat`, whose `ended` ends the watch.
    """

    def __init__(self, heartbeat):
        self.heartbeat, self.comm = heartbeat, heartbeat.comm
        self.own, self.others = StallCounter(), StallCounter()
        self.thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self):
        """Look once every `POLL_INTERVAL` from now on."""
        self.thread.start()
        return self

    def _run(self):
        try:
            while not self.heartbeat.ended.wait(POLL_INTERVAL):
                self.look()
        except Exception as error:
            say(
                f"rank {self.comm.rank} on host {self.heartbeat.host}: the watch over stalls has ended: {type(error).__name__}: {error}"
            )

    def look(self):
        """End the job if this rank, or one that it waits for, has stood still for too long."""
        record = self.heartbeat.record()
        still = self.own.ticks(progress_key(record)) * POLL_INTERVAL
        if not self.comm.waiting or self.heartbeat.failure:
            if still >= self._timeout_for([record]):
                self._end(self._describe_stall(still, record))
            return
        everyone = {rank: one for rank, one in self.heartbeat.everyone.items() if rank < self.comm.size}
        working = {rank: one for rank, one in everyone.items() if not one["waiting"]}
        still = (
            self.others.ticks(
                (progress_key(record), tuple((rank, progress_key(working[rank])) for rank in sorted(working)))
            )
            * POLL_INTERVAL
        )
        concerned = [
            record,
            *working.values(),
        ]  # this one, too: until the run's folder is known no rank sees the records of others
        if still >= self._timeout_for(concerned) + GRACE * POLL_INTERVAL:
            stalled = (
                "; ".join(in_words(working[rank]) for rank in sorted(working))
                if working
                else "all ranks wait for each other: is a host or the network down?"
                if everyone
                else "the others do not come"
            )
            self._end(f"has waited {still:.0f} s for other ranks: {stalled}; {way_on(concerned)}")

    def _timeout_for(self, records):
        """Seconds for which what `records` say may take without any progress."""
        phases = [record["phase"] for record in records]
        if any(phase.startswith("failed") for phase in phases):
            return CLEANUP_TIMEOUT
        least = max(
            [{"compile": COMPILE_TIMEOUT, "start": STARTUP_TIMEOUT}.get(phase, 0.0) for phase in phases], default=0.0
        )
        return max(self.heartbeat.timeout, least) if self.heartbeat.timeout else float("inf")

    def _describe_stall(self, still, record):
        """What this rank does, and the innermost line of Python."""
        place = place_of(sys._current_frames()[self.heartbeat.main_thread])
        if self.heartbeat.failure:
            return f"{record['phase']}, and has not closed what it had open in {still:.0f} s, {place}"
        what = f"no progress for {still:.0f} s in {in_words(record).partition(': ')[2]}, {place}"
        return f"{what}; {CLOSING if record['phase'] == 'closing' else way_on([record])}"

    def _end(self, reason):
        status, words = self.heartbeat.failure or (1, None)
        if words:
            say(words)
        if not self.heartbeat.failure:
            phase, iteration = self.heartbeat.where
            self.heartbeat.where = (f"stalled in {phase}", iteration)
        for last in (self.heartbeat.on_abort, self.heartbeat.write):
            if last is not None:
                doing = threading.Thread(target=last, daemon=True)
                doing.start()
                doing.join(2)
        self.comm.abort(self.heartbeat.wording(reason), status, at_once=True)


class StallCounter:
    """For how many looks in a row something has been the same."""

    def __init__(self):
        self.last, self.count = None, 0

    def ticks(self, seen):
        """The looks since `seen` last was something else."""
        self.count = self.count + 1 if seen == self.last else 0
        self.last = seen
        return self.count


def progress_key(record):
    """What changes in a record as long as its rank goes on."""
    return tuple(record[name] for name in ("phase", "iteration", "step", "collectives"))
