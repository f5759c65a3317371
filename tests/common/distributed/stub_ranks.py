"""A communicator without MPI, for tests of heartbeats and the watchdog."""

import threading


class StubRanks:
    """The part of a `Communicator` that heartbeats and the watchdog use.

    Attributes:
        reason, status: of the abort, once `aborted` is set.
    """

    def __init__(self, size=1, in_collective=False):
        self.rank = 0
        self.size = size
        self.hosts = [f"h{rank}" for rank in range(size)]
        self.in_collective = in_collective
        self.collective_count = 0
        self.reason = None
        self.status = None
        self.aborted = threading.Event()

    def label(self, rank=0):
        return f"rank {rank} on host {self.hosts[rank]}"

    def with_rank_prefix(self, message):
        return f"{self.label()}: {message}"

    def report_and_abort(self, reason, status=1, immediately=False):
        self.reason = reason
        self.status = status
        self.aborted.set()
