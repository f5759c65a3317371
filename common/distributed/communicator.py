"""MPI in a few collective operations, each of them a no-op for one rank. No other module calls MPI's collectives.

A process that no launcher has started never imports MPI, so everything works without an MPI library.
"""

from __future__ import annotations

import functools
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import numpy as np

from common.distributed.exit_guard import ExitGuard, report_failure_bounded
from common.distributed.launcher import launcher_world_size
from common.errors import UserError
from common.runtime import os_features
from common.runtime.crash_stacks import stacks
from common.runtime.tf_import import without_warnings

SPIN_SECONDS = 1e-3  # a waiting rank yields the core for this long before it sleeps
OUTPUT_DRAIN_SECONDS = 0.3  # between a rank's error message and MPI_Abort: a launcher may lose later output
T = TypeVar("T")
Moments = tuple[int, np.ndarray, np.ndarray]  # count, mean, variance


@functools.cache
def world() -> Communicator:
    """Return the communicator of all ranks of this job.

    Raises:
        UserError: if a launcher has started several processes that MPI sees as several jobs of one rank each: each of
            them would run the same training.
    """
    launched, launcher = launcher_world_size()
    if launcher is None and "mpi4py.MPI" not in sys.modules:
        return Communicator(None)
    try:
        with without_warnings():  # mpi4py warns in four lines about the mismatch that is reported in one below
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        if launched > 1:
            raise UserError(
                f"{launcher} started {launched} ranks, but no MPI library can be loaded ({error}); "
                "pip install mpich, or install the MPI that this mpirun belongs to"
            ) from error
        return Communicator(None)
    if launched > 1 and MPI.COMM_WORLD.Get_size() == 1:
        library = MPI.Get_library_version().split("\n")[0].strip("\0 ")
        raise UserError(
            f"{launcher} started {launched} ranks, but MPI ({library}) sees 1: this mpirun belongs to another MPI; "
            "use the mpirun installed with this python, or install mpi4py against that MPI"
        )
    if MPI.COMM_WORLD.Get_size() == 1:
        return Communicator(None)
    comm = Communicator(MPI.COMM_WORLD)
    comm.exit_guard = ExitGuard(comm).install()
    stacks.push_target(comm)
    return comm


class Communicator:
    """The collective operations. All ranks must call them in the same order, never under a condition that can differ.

    Args:
        comm: an mpi4py communicator; None for one rank.

    Attributes:
        rank, size: this process among all.
        hosts: the ranks' host names.
        exit_guard: the `ExitGuard` of the communicator of all ranks; None for others.
        exit_reason: why this rank leaves the job, if it does and knows.
        in_collective: whether this rank is inside a collective operation, which returns when all ranks have called it.
        collective_count: how many operations this rank has completed.
    """

    def __init__(self, comm: Any):
        self.comm = comm
        self.rank: int = comm.Get_rank() if comm else 0
        self.size: int = comm.Get_size() if comm else 1
        self.hosts: list[str] = comm.allgather(socket.gethostname()) if comm else [socket.gethostname()]
        self.exit_guard: ExitGuard | None = None
        self.exit_reason: str | None = None
        self.in_collective = False
        self.collective_count = 0

    def _collective(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a collective function, so that the heartbeat shows that this rank waits for others."""
        self.in_collective = True
        try:
            return function(*args, **kwargs)
        finally:
            self.in_collective = False
            self.collective_count += 1

    def gather_on_host(self, value: T) -> list[T]:
        """Return the values of all ranks on this host."""
        if self.comm is None:
            return [value]
        from mpi4py import MPI

        host = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        try:
            return self._collective(host.allgather, value)
        finally:
            host.Free()

    def barrier(self) -> None:
        """Wait for all ranks without occupying the core that a slower rank may need."""
        if self.comm is not None:
            self._collective(self._poll, self.comm.Ibarrier())

    def _poll(self, request: Any) -> None:
        """Poll a non-blocking request until it completes.

        Yields the core for the first millisecond, because balanced ranks arrive within microseconds; then sleeps for
        2 % of the elapsed wait, between 0.1 and 5 ms.
        """
        began = time.perf_counter()
        while not request.Test():
            waited = time.perf_counter() - began
            if waited < SPIN_SECONDS:
                os_features.yield_core()
            else:
                time.sleep(min(max(waited / 50, 1e-4), 5e-3))
                if self.exit_guard is not None:
                    self.exit_guard.poll()

    def broadcast(self, value: T) -> T:
        """Return rank 0's Python object on all ranks."""
        return value if self.comm is None else self._collective(self.comm.bcast, value, root=0)

    def run_on_root(self, function: Callable[[], T]) -> T:
        """Call `function` on rank 0 and return its result on all ranks; a UserError is raised on all of them."""
        result: Any = None
        error: str | None = None
        if self.rank == 0:
            try:
                result = function()
            except UserError as caught:
                error = str(caught)
        received: tuple[T, str | None] = self.broadcast((result, error))
        if received[1]:
            raise UserError(received[1])
        return received[0]

    def broadcast_array(self, x: np.ndarray) -> np.ndarray:
        """Overwrite the C-contiguous array `x` with rank 0's, in place, and return it."""
        if self.comm is not None:
            self._collective(self.comm.Bcast, x, root=0)
        return x

    def gather(self, value: T) -> list[T]:
        """Return the objects of all ranks, in rank order, on all ranks; early ranks sleep as in `barrier`."""
        if self.comm is None:
            return [value]
        self.barrier()
        return self._collective(self.comm.allgather, value)

    def gather_to_root(self, x: np.ndarray) -> np.ndarray | None:
        """Return the ranks' arrays of one shape, stacked [ranks, *x.shape], on rank 0; None on the others."""
        if self.comm is None:
            return x[None]
        out = np.empty((self.size, *x.shape), x.dtype) if self.rank == 0 else None
        self._collective(self.comm.Gather, np.ascontiguousarray(x), out, root=0)
        return out

    def sum_array(self, x: np.ndarray) -> np.ndarray:
        """Return the element-wise sum over ranks, as a new array."""
        if self.comm is None:
            return x
        out = np.empty_like(x)
        self._collective(self.comm.Allreduce, np.ascontiguousarray(x), out)
        return out

    def mean(self, x: np.ndarray | float) -> np.ndarray:
        """Return the element-wise mean over ranks, in an array's own precision (float64 for a number)."""
        x = np.asarray(x, dtype=None if isinstance(x, np.ndarray) else np.float64)
        mean: np.ndarray = self.sum_array(x) / x.dtype.type(self.size)
        return mean

    def minimum(self, value: float) -> float:
        """Return the minimum over ranks of a number, on all ranks."""
        return min(self.gather(value))

    def moments(self, x: np.ndarray) -> Moments:
        """Return count, mean and variance over the rows of all ranks' `x` [N, ...], in float64.

        Chan et al. 1979: the ranks' own moments are merged in rank order, so that the result is bit-identical on all
        ranks, and a mean far from 0 costs no precision.
        """
        x = np.asarray(x, np.float64)
        with np.errstate(over="ignore"):  # an infinite variance is reported at the end of the iteration
            mean = x.mean(axis=0) if len(x) else np.zeros(x.shape[1:])
            var = np.square(x - mean).mean(axis=0) if len(x) else np.zeros(x.shape[1:])
        return functools.reduce(lambda a, b: merge_moments(*a, *b), self.gather((len(x), mean, var)))

    def label(self, rank: int | None = None) -> str:
        """Return a rank's name in messages, "rank 2 on host h"; this rank's by default."""
        rank = self.rank if rank is None else rank
        return f"rank {rank} on host {self.hosts[rank]}"

    def with_rank_prefix(self, message: str) -> str:
        """Return a message that begins with this rank's label."""
        return f"{self.label()}: {message}"

    def report_and_abort(self, reason: str, status: int = 1, immediately: bool = False) -> NoReturn:
        """Print which rank gives up and why (one line), then `abort`."""
        report_failure_bounded(self.with_rank_prefix(reason), status)
        self.abort(status, immediately)

    def abort(self, status: int, immediately: bool = False) -> NoReturn:
        """End the job on all ranks, after the reason has been printed.

        Args:
            status: the exit status.
            immediately: without cleanup, as needed in a thread while the main one is blocked.
        """
        if self.comm is not None:
            time.sleep(OUTPUT_DRAIN_SECONDS)
            self.comm.Abort(status)
        if immediately:
            os._exit(status)
        sys.exit(status)


def merge_moments(
    count_a: int, mean_a: np.ndarray, var_a: np.ndarray, count_b: int, mean_b: np.ndarray, var_b: np.ndarray
) -> Moments:
    """Return (count, mean, variance) of the union of two samples from theirs.

    Source: Chan, Golub and LeVeque 1979, eq. 2.1.
    """
    count = count_a + count_b
    if count == 0:
        return count_a, mean_a, var_a
    delta = mean_b - mean_a
    mean = mean_a + delta * (count_b / count)
    with np.errstate(over="ignore", invalid="ignore"):
        var = (var_a * count_a + var_b * count_b + np.square(delta) * (count_a * (count_b / count))) / count
    return count, mean, var
