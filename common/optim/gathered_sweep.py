"""Centralised updates: rank 0 receives the batches of all ranks and runs all minibatches in one compiled call."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from common.diagnostics import minibatch_bisect
from common.diagnostics.minibatch_bisect import MinibatchLabel
from common.errors import NonFiniteError
from common.optim.minibatch_step import Arrays, MinibatchStep, SweepStrategy, Tensors


def sweep_graph(
    step: MinibatchStep,
    batch: Tensors,
    indices: tf.Tensor,
    weights: tf.Tensor,
    count: tf.Tensor,
    stepsize: tf.Tensor,
    scalars: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Run the first `count` of M minibatches.

    Args:
        step: the `MinibatchStep`.
        batch: {name: [N, ...]}.
        indices, weights: [M, B].
        count: scalar int32.
        stepsize, scalars: as in `SweepStrategy.run`.

    Returns:
        (terms [M, L] of each minibatch before its step, parameters and moments before the sweep, whether all of these
        are finite after the sweep).
    """

    def run_minibatch(i: tf.Tensor, terms: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        grad, minibatch_terms = step.gradient(batch, indices[i], weights[i], scalars)
        step.apply(grad, stepsize)
        return i + 1, terms.write(i, minibatch_terms)

    before = step.optimizer.flat_state()
    terms = tf.TensorArray(tf.float32, indices.shape[0], element_shape=[len(step.names)])
    terms = tf.while_loop(lambda i, _: i < count, run_minibatch, (0, terms), parallel_iterations=1)[1].stack()
    return terms, before, tf.reduce_all(tf.math.is_finite(step.optimizer.flat_state()))


class GatheredSweep(SweepStrategy):
    """Rank 0 runs the sweep, on the unions of the ranks' minibatches; the other ranks wait for the result.

    TensorFlow is called once per iteration. The strategy is best for small networks. Repeating the sweep on all ranks
    instead of sending the result would not be faster, and would compete for cores.
    """

    def __init__(self, step: MinibatchStep):
        super().__init__(step)
        self.compiled_graph = step.compiled(sweep_graph)

    def compile(
        self, batch: Arrays, batch_size: int, scalars: tf.Tensor, max_minibatches: int, steps: tuple[int, ...]
    ) -> None:
        """Compile the sweep on rank 0 by running it with no minibatch, as `SweepStrategy.compile` requires; changes no
        parameter.
        """
        if self.comm.rank > 0:
            return
        ranks = self.comm.size
        shape = (max_minibatches, ranks * batch_size)
        union = {name: tf.repeat(tf.constant(x), ranks, axis=0) for name, x in batch.items()}
        indices, weights = tf.zeros(shape, tf.int32), tf.zeros(shape + steps)
        self.compiled_graph(union, indices, weights, tf.constant(0), tf.constant(0.0), scalars)

    def run(
        self,
        batch: Arrays,
        indices: np.ndarray,
        weights: np.ndarray,
        stepsize: tf.Tensor,
        scalars: tf.Tensor,
        max_minibatches: int,
        label: MinibatchLabel,
    ) -> np.ndarray:
        """Run the sweep on rank 0 and send the result to all ranks; arguments, result and errors as
        `SweepStrategy.run`.
        """
        if self.comm.size > 1:
            self.comm.barrier()  # a rank sleeps here while rank 0 compiles or others still collect
            batch, indices, weights = self._union(batch, indices, weights)
        terms = error = None
        if self.comm.rank == 0:
            terms, error = self._sweep(batch, indices, weights, stepsize, scalars, max_minibatches, label)
        self.comm.barrier()  # the other ranks sleep here; in a broadcast they would keep their cores busy
        self.optimizer.sync()
        terms, error_args = self.comm.broadcast((terms, error and error.args))
        if error_args:
            raise error or NonFiniteError(*error_args)
        return terms

    def _union(self, batch: Arrays, indices: np.ndarray, weights: np.ndarray) -> tuple[Arrays, np.ndarray, np.ndarray]:
        """Gather on rank 0: ({name: [ranks * N, ...]}, indices, weights [M, ranks * B]); other results are unusable."""
        ranks, samples = self.comm.size, len(next(iter(batch.values())))
        batch = {name: self.comm.gather_to_root(x) for name, x in batch.items()}
        indices, weights = self.comm.gather_to_root(indices), self.comm.gather_to_root(weights)
        if self.comm.rank == 0:
            batch = {name: x.reshape(ranks * samples, *x.shape[2:]) for name, x in batch.items()}
            indices = np.concatenate([own + rank * samples for rank, own in enumerate(indices)], axis=1)
            weights = np.concatenate(weights / np.float32(ranks), axis=1)
        return batch, indices, weights

    def _sweep(
        self,
        batch: Arrays,
        indices: np.ndarray,
        weights: np.ndarray,
        stepsize: tf.Tensor,
        scalars: tf.Tensor,
        max_minibatches: int,
        label: MinibatchLabel,
    ) -> tuple[np.ndarray, NonFiniteError | None]:
        """Run the sweep on this rank; returns (terms [M, L], `NonFiniteError` or None)."""
        batch = {name: tf.constant(x) for name, x in batch.items()}
        count, t_before = len(indices), self.optimizer.t.read_value()
        indices, weights = (
            tf.constant(np.concatenate([x, np.zeros((max_minibatches - count, *x.shape[1:]), x.dtype)]))
            for x in (indices, weights)
        )
        terms, before, finite = self.compiled_graph(batch, indices, weights, tf.constant(count), stepsize, scalars)
        terms = terms.numpy()[:count]
        if finite and np.isfinite(terms).all():
            return terms, None

        def replay(steps: int) -> bool:
            self.optimizer.set_flat_state(before, t_before)
            return bool(self.compiled_graph(batch, indices, weights, tf.constant(steps), stepsize, scalars)[2])

        i = minibatch_bisect.locate_in_compiled_sweep(terms, replay)
        error = self._error_of_minibatch(label.describe(i), batch, indices[i], weights[i], terms[i], stepsize, scalars)
        slots = self.optimizer.slots_of(before.numpy())
        error.arrays |= {f"start/{name}": x for name, x in slots.items()} | {"start/t": t_before.numpy().reshape(1)}
        return terms, error

    def _error_of_minibatch(
        self,
        position: str,
        batch: Tensors,
        indices: tf.Tensor,
        weights: tf.Tensor,
        terms: np.ndarray,
        stepsize: tf.Tensor,
        scalars: tf.Tensor,
    ) -> NonFiniteError:
        """The error of a minibatch with `terms` [L], indices and weights [B]; parameters are those before its step."""
        rows = {name: tf.gather(x, indices).numpy() for name, x in batch.items()}
        return minibatch_bisect.minibatch_error(
            position,
            self.step.names,
            terms,
            grad=self.step.gradient(batch, indices, weights, scalars)[0].numpy(),
            rows=rows | {"weights": weights.numpy(), "rows": indices.numpy()},
            largest_parameter=self.optimizer.largest_parameter(),
            stepsize=stepsize,
            scalars=scalars,
        )
