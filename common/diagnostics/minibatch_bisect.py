"""Which minibatch was the first with a number that is not finite, and what it was: asked only once there is one."""

import bisect

import numpy as np
import tensorflow as tf

from common.diagnostics.nonfinite import explain_nonfinite
from common.errors import NonFiniteError


def locate_in_compiled_sweep(descent, terms, before, started, batch, indices, weights, stepsize, scalars):
    """The error of a sweep in one call, found by doing it again in part; parameters and moments then stand before the minibatch it names.

    Args:
        descent: the `MinibatchOptimizer`.
        terms: [M, L], as the sweep returned them.
        before, started: `MpiAdam.flat_state` and steps before the sweep.
        batch, indices, weights, stepsize, scalars: the sweep's, tensors.
    """

    def state_after(steps):
        descent.adam.set_flat_state(before, started)
        return bool(descent._sweep(batch, indices, weights, tf.constant(steps), stepsize, scalars)[2])

    bad = np.flatnonzero(~np.isfinite(terms).all(axis=1))
    seen = int(bad[0]) if len(bad) else len(terms)
    # a state that is not finite never becomes so again; where it is finite up to there, what was seen first is the first
    steps = bisect.bisect_left(range(seen + 1), True, key=lambda steps: not state_after(steps))
    i = min(max(steps - 1, 0), len(terms) - 1)
    state_after(i)
    rows = {name: tf.gather(x, indices[i]).numpy() for name, x in batch.items()} | {
        "weights": weights[i].numpy(),
        "rows": indices[i].numpy(),
    }
    found = error(
        descent,
        i,
        descent.gradient(batch, indices[i], weights[i], scalars)[0].numpy(),
        terms[i],
        rows,
        stepsize,
        scalars,
    )
    found.arrays |= dict(zip(("start/m", "start/v"), np.split(before.numpy(), 3)[1:])) | {
        "start/t": started.numpy().reshape(1)
    }
    return found


def locate_in_averaged_sweep(descent, i, mean, arrays, stepsize, scalars):
    """The error of minibatch `i` of a sweep whose gradients are averaged, where parameters and moments stand before it; on all ranks together.

    Args:
        mean: [P + L], gradient and terms over all ranks.
        arrays: {name: array} of the sweep's batch [N, ...], `weights` and `rows` [M, B]; this rank's.
    """
    indices = arrays["rows"][i]
    rows = gather_rows(
        descent.comm, {name: x[i] if name in ("rows", "weights") else x[indices] for name, x in arrays.items()}
    )
    found = error(descent, i, mean[: descent.adam.size], mean[descent.adam.size :], rows, stepsize, scalars)
    return NonFiniteError(
        *descent.comm.broadcast(found.args), found.arrays, found.facts
    )  # rank 0 alone has seen the rows


def collective_nonfinite_error(comm, what, rows, largest_parameter, facts):
    """The error of something else than a sweep, over `rows` {name: [N, ...]} of this rank; on all ranks together.

    Args:
        what: went wrong, in words, the same on all ranks.
        largest_parameter: as `explain_nonfinite` takes it.
        facts: of the post-mortem.
    """
    rows = gather_rows(comm, rows)
    why, fix = explain_nonfinite(rows, largest_parameter)
    return NonFiniteError(
        *comm.broadcast((what, fix, why)), {f"minibatch/{name}": x for name, x in rows.items()}, facts
    )


def gather_rows(comm, rows):
    """The {name: [N, ...]} of all ranks, one rank after the other, on rank 0; {} on the others."""
    found = {name: comm.gather_to_root(x) for name, x in rows.items()}
    return {name: np.concatenate(x) for name, x in found.items()} if comm.rank == 0 else {}


def error(descent, i, grad, terms, rows, stepsize, scalars):
    """The `NonFiniteError` of minibatch `i`.

    Args:
        grad: [P]; terms: [L].
        rows: {name: [B, ...]} of all ranks.
    """
    bad = [f"{name} is {value}" for name, value in zip(descent.names, terms) if not np.isfinite(value)]
    bad += (
        [f"a gradient is {grad[~np.isfinite(grad)][0]}, though the terms of the loss are finite"]
        if not np.isfinite(grad).all()
        else []
    )
    bad += ["a parameter or one of Adam's moments is not finite after the step"]
    place = f"minibatch {i % descent.per_epoch} of epoch {descent.epoch + i // descent.per_epoch}"
    why, fix = explain_nonfinite(rows, np.abs(descent.adam.flat_state().numpy()[: descent.adam.size]).max())
    facts = {
        "minibatch": place,
        "terms": dict(zip(descent.names, terms.tolist())),
        "stepsize": float(stepsize),
        "scalars": scalars.numpy().tolist(),
    }
    return NonFiniteError(
        f"{bad[0]}, in {place}", fix, why, {f"minibatch/{name}": x for name, x in rows.items()}, facts
    )
