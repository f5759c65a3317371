"""MPI in a few verbs, each of them a no-op for one rank. Nothing else in the project talks to MPI.

A process that no launcher started never imports MPI, so everything works where no MPI is installed.
"""

import functools
import os
import socket
import sys
import time
from pathlib import Path

import numpy as np

from common.distributed.exit_guard import ExitGuard, say
from common.errors import UserError
from common.runtime import os_features
from common.runtime.crash_stacks import stacks
from common.runtime.tf_import import without_warnings

# launcher -> the variable in which it tells a process how many ranks it has started
LAUNCHERS = {
    "PMI_SIZE": "MPICH or Intel MPI",
    "OMPI_COMM_WORLD_SIZE": "Open MPI",
    "MV2_COMM_WORLD_SIZE": "MVAPICH",
    "SLURM_STEP_NUM_TASKS": "srun",
}
RANKS = (
    "PMI_RANK",
    "OMPI_COMM_WORLD_RANK",
    "MV2_COMM_WORLD_RANK",
    "SLURM_PROCID",
)  # the variables in which they tell it its number
SPIN_SECONDS = 1e-3  # seconds of waiting for others in which a core is only given up, not slept on
OUTPUT_DRAIN_SECONDS = 0.3  # seconds between a rank's last words and the end of the job: a launcher that ends it sooner may never have shown them


def launcher_world_size(environ=os.environ):
    """How many ranks the launcher says it has started, and its name: (1, None) without a launcher."""
    for variable, launcher in LAUNCHERS.items():
        if environ.get(variable, "").isdigit():
            return int(environ[variable]), launcher
    return 1, None


def launched_rank(environ=os.environ):
    """This process's number among the ranks that a launcher says it has started; None without one. MPI need not have been started."""
    return (
        next((int(environ[variable]) for variable in RANKS if environ.get(variable, "").isdigit()), None)
        if launcher_world_size(environ)[0] > 1
        else None
    )


def subprocess_env():
    """The environment for a process that a rank starts: it imports what this one does, and is no rank itself."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PMI", "PMIX", "MPI", "HYD", "OMPI", "MV2", "SLURM_STEP"))
    }
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), kept.get("PYTHONPATH"))))
    }


@functools.cache
def world():
    """The communicator of all ranks of this job.

    Raises:
        UserError: if a launcher has started several processes that MPI sees as several jobs of one rank each, which would
            train the same thing n times over.
    """
    launched, launcher = launcher_world_size()
    if launcher is None and "mpi4py.MPI" not in sys.modules:
        return Communicator(None)
    try:
        with without_warnings():  # it warns, in four lines, of what is refused below in one
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
            "use the mpirun beside this python, or install mpi4py against that MPI"
        )
    if MPI.COMM_WORLD.Get_size() == 1:
        return Communicator(None)
    comm = Communicator(MPI.COMM_WORLD)
    comm.door = ExitGuard(comm).install()
    stacks.keep(comm)
    return comm


class Communicator:
    """The verbs. Every rank must call them in the same order (DESIGN: no collective under a condition that can differ).

    Attributes:
        rank, size: this process among all.
        door: the `ExitGuard` of all ranks' communicator; None of any other.
        last_words: why this rank leaves the job, if it does and can say.
        waiting, collectives: whether this rank is inside one of the verbs, which end when all ranks have come, and how many it has called.
    """

    def __init__(self, comm):
        self.comm = comm
        self.rank = comm.Get_rank() if comm else 0
        self.size = comm.Get_size() if comm else 1
        self.door = self.last_words = None
        self.waiting, self.collective_count = False, 0

    def _collective(self, function, *args, **kwargs):
        """What a collective function gives; the heartbeat sees that this rank waits for others."""
        self.waiting = True
        try:
            return function(*args, **kwargs)
        finally:
            self.waiting = False
            self.collective_count += 1

    def gather_on_host(self, value):
        """[value, ...] of the ranks on this host."""
        if self.comm is None:
            return [value]
        from mpi4py import MPI

        host = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        try:
            return self._collective(host.allgather, value)
        finally:
            host.Free()

    def barrier(self):
        """Wait for all ranks without burning the core that a slower rank may need."""
        if self.comm is None:
            return
        self._collective(self._poll, self.comm.Ibarrier())

    def _poll(self, request):
        """Ask until it is done: at first whenever no other process wants the core, for ranks that come together need microseconds and a sleep takes
        more; then a fiftieth of the wait so far apart."""
        began = time.perf_counter()
        while not request.Test():
            waited = time.perf_counter() - began
            if waited < SPIN_SECONDS:
                os_features.yield_core()
            else:
                time.sleep(min(max(waited / 50, 1e-4), 5e-3))
                if self.door is not None:
                    self.door.look()

    def broadcast(self, value):
        """Rank 0's Python object, on all ranks."""
        return value if self.comm is None else self._collective(self.comm.bcast, value, root=0)

    def run_on_root(self, function):
        """What `function` () returns on rank 0, on all ranks; a UserError that it raises there is raised on all."""
        found = error = None
        if self.rank == 0:
            try:
                found = function()
            except UserError as caught:
                error = str(caught)
        found, error = self.broadcast((found, error))
        if error:
            raise UserError(error)
        return found

    def broadcast_array(self, x):
        """Rank 0's array, written into `x` on all ranks (in place; C-contiguous)."""
        if self.comm is not None:
            self._collective(self.comm.Bcast, x, root=0)
        return x

    def gather(self, value):
        """[rank 0's object, rank 1's, ...] on all ranks; those that come early sleep, as in `barrier`."""
        if self.comm is None:
            return [value]
        self.barrier()
        return self._collective(self.comm.allgather, value)

    def gather_to_root(self, x):
        """Every rank's array of one shape, stacked on rank 0: [ranks, *x.shape]; None on the others."""
        if self.comm is None:
            return x[None]
        out = np.empty((self.size, *x.shape), x.dtype) if self.rank == 0 else None
        self._collective(self.comm.Gather, np.ascontiguousarray(x), out, root=0)
        return out

    def sum_array(self, x):
        """Element-wise sum over ranks of a NumPy array, as a new array."""
        if self.comm is None:
            return x
        out = np.empty_like(x)
        self._collective(self.comm.Allreduce, np.ascontiguousarray(x), out)
        return out

    def mean(self, x):
        """Element-wise mean over ranks of a number or NumPy array, in its own precision (float64 for a number)."""
        x = np.asarray(x, dtype=None if isinstance(x, np.ndarray) else np.float64)
        return self.sum_array(x) / x.dtype.type(self.size)

    def minimum(self, value):
        """The least of the ranks' numbers, on all ranks."""
        return min(self.gather(value))

    def moments(self, x):
        """Count, mean and mean squared deviation over the rows of all ranks' `x` [N, ...], in float64.

        Chan et al. 1979: the ranks' own moments are merged pairwise in the order of ranks, so that the result has the same bits on
        all of them, and a mean far from 0 costs no precision.
        """
        x = np.asarray(x, np.float64)
        with np.errstate(over="ignore"):  # a variance beyond float64 ends the run at the end of the iteration
            mean = x.mean(axis=0) if len(x) else np.zeros(x.shape[1:])
            own = (len(x), mean, np.square(x - mean).mean(axis=0) if len(x) else np.zeros(x.shape[1:]))
        return functools.reduce(lambda a, b: merge_moments(*a, *b), self.gather(own))

    @property
    def name(self):
        """What this rank is called: 'rank 2 on host h'."""
        return f"rank {self.rank} on host {socket.gethostname()}"

    def with_rank_prefix(self, words):
        """Words with this rank's name."""
        return f"{self.name}: {words}"

    def abort(self, reason, status=1, at_once=False):
        """End the job on all ranks at once, telling who gave up and why: `reason`, one line. Else as `end`."""
        say(self.with_rank_prefix(reason))
        self.end(status, at_once)

    def end(self, status, at_once=False):
        """End the job on all ranks, now that it has been told why. The only way out for a failing rank.

        Args:
            status: the exit status.
            at_once: from a thread, while the main one stands still: nothing is cleaned up.
        """
        if self.comm is not None:
            time.sleep(OUTPUT_DRAIN_SECONDS)
            self.comm.Abort(status)
        if at_once:
            os._exit(status)
        sys.exit(status)


def merge_moments(count_a, mean_a, var_a, count_b, mean_b, var_b):
    """Moments of the union of two sets, from theirs: Chan, Golub and LeVeque 1979, eq. 2.1. Returns (count, mean, var)."""
    count = count_a + count_b
    if count == 0:
        return count_a, mean_a, var_a
    delta = mean_b - mean_a
    mean = mean_a + delta * (count_b / count)
    with np.errstate(over="ignore", invalid="ignore"):
        var = (var_a * count_a + var_b * count_b + np.square(delta) * (count_a * (count_b / count))) / count
    return count, mean, var
