"""Checks that all ranks hold bit-identical parameters, moments and statistics; otherwise a run cannot be trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.hints import START_FROM_CHECKPOINT

if TYPE_CHECKING:
    from common.distributed.communicator import Communicator

DIGEST_BYTES = 16


class ReplicaDivergenceError(RuntimeError):
    """The ranks hold different parameters, moments or statistics; raised on all. The command line exits with 1."""


def check_synced(comm: Communicator, arrays: Callable[[], Mapping[str, np.ndarray]]) -> None:
    """Check that arrays are bit-identical on all ranks.

    Args:
        comm: the communicator of all ranks; with one rank nothing is computed.
        arrays: function () -> {name: array}, with the same names on all ranks.

    Raises:
        ReplicaDivergenceError: naming the ranks and the first array that differ.
    """
    if comm.size == 1:
        return
    digests = comm.gather({name: _digest(x) for name, x in arrays().items()})
    for name in digests[0]:
        minority = minority_ranks([digest[name] for digest in digests])
        if minority:
            labels = ", ".join(comm.label(rank) for rank in minority)
            raise ReplicaDivergenceError(
                f"replicas diverged: {labels} {'has' if len(minority) == 1 else 'have'} a different {name} than the "
                f"other ranks; {START_FROM_CHECKPOINT}, and check for unequal hardware or libraries, or a callback "
                "that changes it on one rank only"
            )


def _digest(x: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(x).tobytes(), digest_size=DIGEST_BYTES).digest()


def minority_ranks(values: Sequence[bytes]) -> list[int]:
    """Return the ranks whose value is not the most frequent one; with a tie, rank 0's value counts as the usual one."""
    usual = max(values, key=lambda value: (values.count(value), value == values[0]))
    return [rank for rank, value in enumerate(values) if value != usual]
