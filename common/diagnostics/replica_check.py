"""The look whether the ranks have drifted apart: all must hold the same bits, or the run cannot be trusted."""

import hashlib
import socket

import numpy as np

from common.hints import LAST


class ReplicaDivergenceError(RuntimeError):
    """The ranks hold different parameters, moments or statistics; raised on all of them. The command line exits with 1."""


def check_synced(comm, arrays):
    """Raises RanksDrifted, naming the ranks and the first array, unless arrays hold the same bits on all ranks.

    Args:
        comm: the ranks; a single one is not looked at.
        arrays: function () -> {name: array}, with the same names on all ranks.
    """
    if comm.size == 1:
        return
    digests = comm.gather(
        {
            name: hashlib.blake2b(np.ascontiguousarray(x).tobytes(), digest_size=16).digest()
            for name, x in arrays().items()
        }
    )
    for name in digests[0]:
        if wrong := minority_ranks([one[name] for one in digests]):
            hosts = comm.gather(socket.gethostname())
            ranks = ", ".join(f"rank {rank} of {comm.size} on host {hosts[rank]}" for rank in wrong)
            raise ReplicaDivergenceError(
                f"the ranks have drifted apart: {ranks} {'holds' if len(wrong) == 1 else 'hold'} another {name} than the rest; "
                f"{LAST}, and look for unequal hardware or libraries, or a callback that changes it on one rank alone"
            )


def minority_ranks(values):
    """The ranks whose value is not the one that most have; where there is no such one, rank 0's is."""
    usual = max(values, key=lambda value: (values.count(value), value == values[0]))
    return [rank for rank, value in enumerate(values) if value != usual]
