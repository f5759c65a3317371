"""Exit guard: no rank leaves an MPI job silently, because the other ranks would block forever in their next collective.

`common.distributed.communicator.world` installs it, so it also protects a user's own script. An uncaught exception
aborts the job at once. A rank that ends in another way, such as by `sys.exit`, notifies the other ranks; one that waits
for it in a collective operation aborts the job.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from common.storage.failure_file import record_failure

if TYPE_CHECKING:
    from common.distributed.communicator import Communicator

EXIT_NOTICE_TAG = 30_111  # MPI tag of "this rank has ended"; an unlikely value for any other message of the job
ROOT_REPORTS_FIRST_SECONDS = 1.0  # other ranks delay their message so that rank 0 alone reports an error common to all
PEER_EXIT_GRACE = 2.0  # seconds for a collective to complete after a rank has left: it may have been its last one
ABORT_STAGGER_PER_RANK = 1.0  # seconds between the ranks' messages, so that only the first one prints
MIN_POLL_SECONDS = 2e-3  # of a rank that waits at its end for the others
MAX_POLL_SECONDS = 0.05
EXIT_REASON_LENGTH = 1000  # characters: MPI sends a short message at once, without keeping a reference to its buffer
STDERR_TIMEOUT = 2.0  # seconds


def print_stderr_bounded(text: str) -> None:
    """Print to stderr for at most `STDERR_TIMEOUT` seconds.

    A pipe that nobody reads, or a disk that is full or hangs, must not keep a rank from ending the job.
    """

    def write() -> None:
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr, flush=True)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(STDERR_TIMEOUT)


def report_failure_bounded(line: str, status: int, trace: str = "") -> None:
    """Print why a rank fails, and record it for the program that started the run, in a bounded time.

    Args:
        line: the error message.
        status: the exit status.
        trace: a traceback, which is printed before the message.
    """
    print_stderr_bounded(trace + line)
    recorder = threading.Thread(target=record_failure, args=(status, line), daemon=True)  # the disk may hang
    recorder.start()
    recorder.join(STDERR_TIMEOUT)


class ExitGuard:
    """The exit guard of one rank.

    Args:
        comm: the communicator of all ranks.

    Attributes:
        exited_ranks: {rank: (monotonic time at which this rank received its notice, description)}.
        has_sent_notice: whether this rank has notified the others.
    """

    def __init__(self, comm: Communicator):
        self.comm = comm
        self.exited_ranks: dict[int, tuple[float, str]] = {}
        self.has_sent_notice = False

    def install(self) -> ExitGuard:
        """Start to watch how this process ends."""
        from mpi4py import MPI

        self._previous_hook = sys.excepthook
        sys.excepthook = self._handle_uncaught
        atexit.register(self._send_exit_notice)  # runs before mpi4py's own hook, which waits for all ranks
        # If a script calls MPI.Finalize itself: MPI first deletes the attributes of COMM_SELF, while it still works
        MPI.COMM_SELF.Set_attr(MPI.Comm.Create_keyval(delete_fn=lambda *_: self._send_exit_notice()), None)
        return self

    def _handle_uncaught(
        self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if self.comm.rank > 0:
            time.sleep(ROOT_REPORTS_FIRST_SECONDS)
        self._previous_hook(kind, error, traceback)
        reason = " ".join(f"{kind.__name__}: {error}".split())
        self.comm.report_and_abort(reason, 130 if issubclass(kind, KeyboardInterrupt) else 1)

    def _send_exit_notice(self) -> None:
        """Notify all other ranks, and wait until all of them have sent their notice.

        MPI must not be finalised while a message is unreceived: MPICH would stop half way without a message, its
        launcher would take the rank for one that has died, and kill the others.
        """
        from mpi4py import MPI

        if self.has_sent_notice or MPI.Is_finalized():
            return
        self.has_sent_notice = True
        reason = f": {self.comm.exit_reason}" if self.comm.exit_reason else ""
        notice = f"{self.comm.label()}, which has ended{reason}"[:EXIT_REASON_LENGTH]
        peers = [rank for rank in range(self.comm.size) if rank != self.comm.rank]
        requests = [self.comm.comm.isend(notice, rank, EXIT_NOTICE_TAG) for rank in peers]
        pause = MIN_POLL_SECONDS
        while len(self.exited_ranks) < len(peers):
            self._receive_notices()
            time.sleep(pause)  # MPI's own finalisation would keep a core busy
            pause = min(1.1 * pause, MAX_POLL_SECONDS)
        MPI.Request.waitall(requests)

    def _receive_notices(self) -> None:
        while self.comm.comm.iprobe(tag=EXIT_NOTICE_TAG):
            from mpi4py import MPI

            status = MPI.Status()
            notice = self.comm.comm.recv(tag=EXIT_NOTICE_TAG, status=status)
            self.exited_ranks[status.Get_source()] = time.monotonic(), notice

    def poll(self) -> None:
        """Abort the job if this rank, which waits in a collective, waits for one that has left."""
        self._receive_notices()
        if self.exited_ranks:
            since, notice = min(self.exited_ranks.values())
            if time.monotonic() - since > PEER_EXIT_GRACE + ABORT_STAGGER_PER_RANK * self.comm.rank:
                self.comm.report_and_abort(f"waits for {notice}")
