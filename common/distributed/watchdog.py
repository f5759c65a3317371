"""Watchdog: aborts a stalled job.

A daemon thread on each rank polls once a second whether its own rank makes progress and, while that rank is blocked in
a collective call, whether its peers do. It does no file I/O.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from common.distributed.exit_guard import print_stderr_bounded
from common.distributed.heartbeat import POLL_INTERVAL, Record
from common.distributed.lock_watchdog import LockWatchdog
from common.hints import RESTART_AFTER_STALL, RESUME_AFTER_STALL
from common.runtime.thread_location import describe_location

if TYPE_CHECKING:
    from common.distributed.communicator import Communicator
    from common.distributed.heartbeat import Heartbeat

COMPILE_TIMEOUT = 600.0  # seconds, at least, for compiling: it ends, but when depends on the machine
STARTUP_TIMEOUT = 120.0  # seconds, at least, for the start, such as TensorFlow's import on a busy machine
CLEANUP_TIMEOUT = 5.0  # seconds for a rank that has failed to close its environments
GRACE_POLLS = 5  # a stalled rank reports itself this much earlier than the ranks that wait for it
ABORT_HOOK_TIMEOUT = 2.0  # seconds for each action before the job is aborted
POLICY_SAVED = "the run had finished, and the policy is saved"  # an environment did not close


def recovery_hint(records: list[Record]) -> str:
    """Return what to do after a stall of ranks with these records."""
    return RESTART_AFTER_STALL if any(record["phase"] == "start" for record in records) else RESUME_AFTER_STALL


def format_record(record: Record) -> str:
    """Return a rank's record as text: "collect, iteration 17, step 512"."""
    step = f", step {record['step']}" if record["phase"] == "collect" else ""
    waiting = ", waiting for the others" if record["waiting"] else ""
    return f"{record['phase']}, iteration {record['iteration']}{step}{waiting}"


def progress_key(record: Record) -> tuple[Any, ...]:
    """Return the part of a record that changes as long as its rank makes progress."""
    return tuple(record[name] for name in ("phase", "iteration", "step", "collectives"))


class StallCounter:
    """Counts for how many consecutive polls an observation has been the same."""

    def __init__(self) -> None:
        self._last: object = None
        self._count = 0

    def observe(self, observation: object) -> int:
        """Return how many polls ago this observation was first made without interruption."""
        self._count = self._count + 1 if observation == self._last else 0
        self._last = observation
        return self._count


class Watchdog:
    """The watchdog of one rank.

    Args:
        comm: the communicator of all ranks.
        heartbeat: this rank's heartbeat; its `ended` event stops the watchdog, too.
        timeout: seconds without progress after which the job is aborted; 0 never aborts it. Time during which the
            process was suspended does not count, because polls are counted.
        translate: function from a message to the text that is printed, such as `common.hints.in_flags`.

    Attributes:
        on_abort: function () called before the job is aborted, such as to restore the terminal; may take two seconds.
    """

    def __init__(
        self,
        comm: Communicator,
        heartbeat: Heartbeat,
        timeout: float = 0.0,
        translate: Callable[[str], str] = str,
    ):
        self.comm = comm
        self.heartbeat = heartbeat
        self.timeout = timeout
        self.translate = translate
        self.on_abort: Callable[[], None] | None = None
        self._own = StallCounter()
        self._peers = StallCounter()
        self._lock_watchdog = LockWatchdog(comm.label())
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> Watchdog:
        """Check once every `POLL_INTERVAL` from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop checking. The heartbeat must have ended."""
        if self._thread.is_alive():
            self._thread.join(2 * POLL_INTERVAL)
        self._lock_watchdog.close()

    def _run(self) -> None:
        try:
            while not self.heartbeat.ended.wait(POLL_INTERVAL):
                own_timeout = self._timeout_for([self.heartbeat.record()])
                self._lock_watchdog.rearm(own_timeout + 2 * GRACE_POLLS * POLL_INTERVAL)
                self.check()
        except Exception as error:
            print_stderr_bounded(
                self.comm.with_rank_prefix(f"the watchdog has stopped: {type(error).__name__}: {error}")
            )
        finally:
            self._lock_watchdog.close()

    def check(self) -> None:
        """Abort the job if this rank, or one that it waits for, has made no progress for too long."""
        record = self.heartbeat.record()
        stalled_for = self._own.observe(progress_key(record)) * POLL_INTERVAL
        if self.comm.in_collective and not self.heartbeat.failure:
            self._check_peers(record)
        elif stalled_for >= self._timeout_for([record]):
            self._abort(self._describe_stall(stalled_for, record))

    def _check_peers(self, record: Record) -> None:
        """Abort the job if the ranks that this one waits for have made no progress for too long."""
        peers = {rank: peer for rank, peer in self.heartbeat.peer_records.items() if rank < self.comm.size}
        working = {rank: peer for rank, peer in sorted(peers.items()) if not peer["waiting"]}
        observation = (progress_key(record), tuple((rank, progress_key(peer)) for rank, peer in working.items()))
        stalled_for = self._peers.observe(observation) * POLL_INTERVAL
        # includes this rank: until the run's directory is known, no rank sees the records of others
        concerned = [record, *working.values()]
        if stalled_for < self._timeout_for(concerned) + GRACE_POLLS * POLL_INTERVAL:
            return
        if working:
            reason = "; ".join(f"{self.comm.label(rank)}: {format_record(peer)}" for rank, peer in working.items())
        elif peers:
            reason = "all ranks wait for each other: is a host or the network down?"
        else:
            reason = "they do not arrive"
        self._abort(f"has waited {stalled_for:.0f} s for other ranks: {reason}; {recovery_hint(concerned)}")

    def _timeout_for(self, records: list[Record]) -> float:
        """Return for how many seconds ranks with these records may make no progress."""
        phases = [record["phase"] for record in records]
        if any(phase.startswith("failed") for phase in phases):
            return CLEANUP_TIMEOUT
        if not self.timeout:
            return float("inf")
        minimums = {"compile": COMPILE_TIMEOUT, "start": STARTUP_TIMEOUT}
        return max([self.timeout, *(minimums.get(phase, 0.0) for phase in phases)])

    def _describe_stall(self, stalled_for: float, record: Record) -> str:
        """Return what this rank does and where: its innermost line of Python."""
        location = describe_location(self.heartbeat.main_thread)
        if self.heartbeat.failure:
            return f"{record['phase']}, and cleaning up has not ended after {stalled_for:.0f} s, {location}"
        hint = POLICY_SAVED if record["phase"] == "closing" else recovery_hint([record])
        return f"no progress for {stalled_for:.0f} s in {format_record(record)}, {location}; {hint}"

    def _abort(self, reason: str) -> None:
        status, message = self.heartbeat.failure or (1, None)
        if message:
            print_stderr_bounded(message)
        if not self.heartbeat.failure:
            self.heartbeat.mark_stalled()
        for action in (self.on_abort, self.heartbeat.write):
            if action is not None:
                thread = threading.Thread(target=action, daemon=True)  # it may hang as well
                thread.start()
                thread.join(ABORT_HOOK_TIMEOUT)
        self.comm.report_and_abort(self.translate(reason), status, immediately=True)
