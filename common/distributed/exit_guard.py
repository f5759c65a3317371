"""The one door through which a rank leaves a job of several: never without a word, for the others would wait for it for ever.

`common.distributed.communicator.world` puts it up, so that it is there in a script of one's own, too. What is raised and never caught ends the job at once. A rank that
ends in any other way, such as by `sys.exit`, tells the others so; one that waits for it in a collective call ends the job.
"""

import atexit
import contextlib
import sys
import threading
import time

EXIT_NOTICE_TAG = 30_111  # the tag of "this rank has ended", which no other message of the job is likely to have
ROOT_REPORTS_FIRST_SECONDS = 1.0  # seconds for which other ranks leave it to rank 0 to say what has gone wrong on all
GRACE = 2.0  # seconds that a call is given to end once a rank has left: that may have been its last one, too
ABORT_STAGGER_PER_RANK = 1.0  # seconds by which a rank speaks later than the one before it, so that one of them does
SHORTEST_PAUSE, LONGEST_PAUSE = 2e-3, 0.05  # seconds between the looks of a rank that ends for others that do
LONGEST = 1000  # characters of a rank's last words: a short message is on its way at once, whatever becomes of the memory that it is in
PATIENCE = 2.0  # seconds for which words are written


def say(text):
    """Print to stderr. Two seconds at the most: neither a pipe that nobody reads nor a disk that is full or hangs keeps a rank from ending the job."""

    def write():
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr, flush=True)

    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    writing.join(PATIENCE)


class ExitGuard:
    """One rank's.

    Args:
        comm: the `Communicator` of all ranks.

    Attributes:
        left: {rank: (seconds when this rank heard that it has left, its last words)}.
    """

    def __init__(self, comm):
        self.comm, self.left, self.has_left = comm, {}, False

    def install(self):
        """Look at how this process ends from now on."""
        from mpi4py import MPI

        self.hook, sys.excepthook = sys.excepthook, self._uncaught
        atexit.register(self._send_exit_notice)  # before mpi4py's own end, which waits for all ranks
        # for a script that calls MPI.Finalize itself: the standard has that delete what is on COMM_SELF first, while there still is MPI
        MPI.COMM_SELF.Set_attr(MPI.Comm.Create_keyval(delete_fn=lambda *_: self._send_exit_notice()), None)
        return self

    def _uncaught(self, kind, error, trace):
        if self.comm.rank > 0:
            time.sleep(ROOT_REPORTS_FIRST_SECONDS)
        self.hook(kind, error, trace)
        self.comm.abort(
            " ".join(f"{kind.__name__}: {error}".split()), 130 if issubclass(kind, KeyboardInterrupt) else 1
        )

    def _send_exit_notice(self):
        """Tell all others, and wait until all others have told: MPI must not end with a message that nobody has received. MPICH's end then stops half way,
        without a word, its launcher takes the rank for one that has died, and kills the others."""
        from mpi4py import MPI

        if self.has_left or MPI.Is_finalized():
            return
        self.has_left = True
        words = f"{self.comm.name}, which has ended{f': {self.comm.last_words}' if self.comm.last_words else ''}"
        told = [
            self.comm.comm.isend(words[:LONGEST], rank, EXIT_NOTICE_TAG)
            for rank in range(self.comm.size)
            if rank != self.comm.rank
        ]
        pause = SHORTEST_PAUSE
        while len(self.left) < len(told):
            self._receive_notices()
            time.sleep(pause)  # MPI's own end keeps a core busy instead
            pause = min(1.1 * pause, LONGEST_PAUSE)
        MPI.Request.waitall(told)

    def _receive_notices(self):
        while self.comm.comm.iprobe(tag=EXIT_NOTICE_TAG):
            from mpi4py import MPI

            status = MPI.Status()
            words = self.comm.comm.recv(tag=EXIT_NOTICE_TAG, status=status)
            self.left[status.Get_source()] = time.monotonic(), words

    def look(self):
        """End the job if this rank, which waits for all, waits for one that has left."""
        self._receive_notices()
        if self.left:
            since, words = min(self.left.values())
            if time.monotonic() - since > GRACE + ABORT_STAGGER_PER_RANK * self.comm.rank:
                self.comm.abort(f"waits for {words}")
