"""Finds and explains the first minibatch with a non-finite number. Called only if a sweep has produced one."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from common.diagnostics.nonfinite import explain_nonfinite
from common.errors import NonFiniteError

if TYPE_CHECKING:
    import tensorflow as tf

    from common.distributed.communicator import Communicator


@dataclass(frozen=True)
class MinibatchLabel:
    """Names the minibatches of a sweep in error messages.

    Attributes:
        minibatches_per_epoch: in this sweep.
        first_epoch: number of the epoch that the sweep starts with.
    """

    minibatches_per_epoch: int
    first_epoch: int = 0

    def describe(self, i: int) -> str:
        """Describe minibatch i of the sweep, such as 'minibatch 3 of epoch 0'."""
        return (
            f"minibatch {i % self.minibatches_per_epoch} of epoch {self.first_epoch + i // self.minibatches_per_epoch}"
        )


def locate_in_compiled_sweep(terms: np.ndarray, replay: Callable[[int], bool]) -> int:
    """Find the first non-finite minibatch of a compiled sweep by bisection.

    Prefixes of the sweep are replayed from its initial state.

    Args:
        terms: [M, L], the loss terms that the sweep returned.
        replay: function (number of steps) -> whether parameters and moments are finite after these steps. It leaves
            them there.

    Returns:
        The number of the minibatch. Parameters and moments are then those before this minibatch.
    """
    bad = np.flatnonzero(~np.isfinite(terms).all(axis=1))
    first_bad_terms = int(bad[0]) if len(bad) else len(terms)
    # a non-finite state stays non-finite; if it is finite up to the first bad terms, these came first
    steps = bisect.bisect_left(range(first_bad_terms + 1), True, key=lambda steps: not replay(steps))
    i = min(max(steps - 1, 0), len(terms) - 1)
    replay(i)
    return i


def minibatch_error(
    position: str,
    names: Sequence[str],
    terms: np.ndarray,
    *,
    grad: np.ndarray,
    rows: dict[str, np.ndarray],
    largest_parameter: float,
    stepsize: tf.Tensor,
    scalars: tf.Tensor,
) -> NonFiniteError:
    """The error of a minibatch.

    Args:
        position: from `MinibatchLabel.describe`.
        names: of the loss terms.
        terms: [L], before the step.
        grad: [P].
        rows: {name: [B, ...]}, the minibatch of all ranks, with `weights`, and `rows`, the indices of its samples.
        largest_parameter: largest absolute value before the step.
        stepsize, scalars: of the sweep.
    """
    bad = [f"{name} is {value}" for name, value in zip(names, terms) if not np.isfinite(value)]
    if not np.isfinite(grad).all():
        bad.append(f"a gradient is {grad[~np.isfinite(grad)][0]}, though the terms of the loss are finite")
    bad.append("a parameter or one of Adam's moments is not finite after the step")
    cause, hint = explain_nonfinite(rows, largest_parameter)
    facts = {
        "minibatch": position,
        "terms": dict(zip(names, terms.tolist())),
        "stepsize": float(stepsize),
        "scalars": scalars.numpy().tolist(),
    }
    return NonFiniteError(f"{bad[0]}, in {position}", hint, cause, _with_prefix(rows), facts)


def collective_nonfinite_error(
    comm: Communicator, what: str, rows: dict[str, np.ndarray], largest_parameter: float, facts: dict[str, Any]
) -> NonFiniteError:
    """The error of a computation that is not a sweep. Collective: all ranks get the same text.

    Args:
        comm: the ranks.
        what: description of the error, the same on all ranks.
        rows: {name: [N, ...]}, the samples of this rank.
        largest_parameter: largest absolute value.
        facts: for the crash dump.
    """
    rows = gather_rows(comm, rows)
    cause, hint = explain_nonfinite(rows, largest_parameter)
    return NonFiniteError(*comm.broadcast((what, hint, cause)), _with_prefix(rows), facts)


def gather_rows(comm: Communicator, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """On rank 0, {name: [N, ...]} of all ranks, in the order of ranks; {} on the other ranks."""
    gathered = {name: comm.gather_to_root(x) for name, x in rows.items()}
    return {name: np.concatenate(x) for name, x in gathered.items()} if comm.rank == 0 else {}


def _with_prefix(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The names of a crash dump's arrays."""
    return {f"minibatch/{name}": x for name, x in rows.items()}
