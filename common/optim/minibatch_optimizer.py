"""Minibatch descent of a loss over all ranks, fast: one compiled call a sweep where that is possible.

Two ways to average gradients over n ranks give the same update to rounding:

- **gather**: rank 0 gets everyone's segment and makes the whole sweep in one compiled call, on minibatches that are the union of the
  ranks' own; the others sleep, then receive parameters and moments. One crossing into TensorFlow an iteration. Best while networks are
  small. (Repeating the sweep on every rank gains nothing where there are cores, and competes for them where there are not.)
- **average**: every rank computes its minibatch's gradient, MPI averages, Adam steps: one crossing a minibatch. Works for any size.

Which one is a function of the ranks, the batch and the network alone (`choose_averaging`), so a run repeats itself.
"""

import copy

import numpy as np
import tensorflow as tf

from common.compilation import Compiled
from common.diagnostics import minibatch_bisect
from common.errors import NonFiniteError
from common.mpi_adam import clip_by_norm
from common.runtime.partition import even_splits

# Parameters times rows of a minibatch over all ranks, below which rank 0 alone is taken to be sooner done. An estimate, not measured at its
# edge: it puts an MLP of 64 units with minibatches of 64 on the gathering side up to 8 ranks and beyond, and Nature's network on the other.
GATHER_MAX_COST = 12e6


def choose_averaging(ranks, parameters, batch_size):
    """'gather' or 'average', from the number of ranks, of parameters, and of rows in one rank's minibatch."""
    return "gather" if ranks == 1 or ranks * parameters * batch_size < GATHER_MAX_COST else "average"


class MinibatchOptimizer:
    """Adam on the minibatches of a batch.

    Args:
        losses: function (minibatch: dict of tensors [B, ...], weights [B], scalars [S]) -> (loss, terms [L]). A mean over rows
            is a sum of weight times value; `terms` are what is logged.
        names: of the terms, L.
        adam: an `MpiAdam` over the variables to move.
        max_grad_norm: the mean gradient is scaled down to this length; None leaves it.
        xla: compile with XLA.
        strategy: 'gather' or 'average'.
        parts: of a minibatch, whose gradients are computed side by side.
        shared: a `common.compilation.Shared` whose `over` gives the losses over other variables than the policy's; None: they are of these alone.
    """

    def __init__(self, losses, names, adam, max_grad_norm=None, xla=True, strategy="gather", parts=1, shared=None):
        self.losses, self.names, self.adam, self.comm = losses, names, adam, adam.comm
        self.max_grad_norm, self.strategy, self.parts = max_grad_norm, strategy, parts
        self._sweep, self._step, self._evaluate = (
            Compiled(graph, xla, shared and self._shared(shared, graph.__name__))
            for graph in (self._sweep_graph, self._step_graph, self._evaluate_graph)
        )

    def _shared(self, shared, graph):
        """How trainings share the method `graph`: over the policy's variables and Adam's."""
        adam, count = self.adam, len(shared.variables)
        moved = [next(i for i, x in enumerate(shared.variables) if x is moving) for moving in adam.var_list]

        def over(variables):
            other = copy.copy(self)
            other.losses = shared.over(variables[:count])
            other.adam = adam.over([variables[i] for i in moved], *variables[count:])
            return getattr(other, graph)

        factors = None if adam.factors is None else tuple(adam.factors.tolist())
        key = self.names, self.max_grad_norm, self.parts, tuple(moved), adam.beta1, adam.beta2, adam.epsilon, factors
        return shared.then(key, [*shared.variables, adam.m, adam.v, adam.t], over)

    def gradient(self, batch, indices, weights, scalars):
        """(gradient [P], terms [L]) of one minibatch, the rows `indices` [B], on this rank. Both are sums over rows, so parts of it add up."""
        ends = even_splits(indices.shape[0], self.parts)
        found = [
            self._gradient_of_part(batch, indices[start:end], weights[start:end], scalars)
            for start, end in zip(ends, ends[1:])
            if end > start
        ]
        return tuple(tf.add_n(parts) for parts in zip(*found))

    def _gradient_of_part(self, batch, indices, weights, scalars):
        minibatch = {name: tf.gather(x, indices) for name, x in batch.items()}
        variables = self.adam.var_list
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss, terms = self.losses(minibatch, weights, scalars)
        grads = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return tf.concat([tf.reshape(g, [-1]) for g in grads], axis=0), terms

    def _apply(self, grad, stepsize, enabled=True):
        if self.max_grad_norm is not None:
            grad, _ = clip_by_norm(grad, self.max_grad_norm)
        self.adam.apply(grad, stepsize, enabled)

    def _sweep_graph(self, batch, indices, weights, count, stepsize, scalars):
        """(terms [M, L], parameters and moments before it, whether all of those are finite after it)."""

        def minibatch(i, terms):
            grad, minibatch_terms = self.gradient(batch, indices[i], weights[i], scalars)
            self._apply(grad, stepsize)
            return i + 1, terms.write(i, minibatch_terms)

        before = self.adam.flat_state()
        terms = tf.TensorArray(tf.float32, indices.shape[0], element_shape=[len(self.names)])
        terms = tf.while_loop(lambda i, _: i < count, minibatch, (0, terms), parallel_iterations=1)[1].stack()
        return terms, before, tf.reduce_all(tf.math.is_finite(self.adam.flat_state()))

    def _step_graph(self, grad, enabled, batch, indices, weights, stepsize, scalars):
        """Adam with the last minibatch's averaged gradient, then this one's own: one call from Python rather than two."""
        self._apply(grad, stepsize, enabled)
        return tf.concat(self.gradient(batch, indices, weights, scalars), axis=0)

    def _evaluate_graph(self, batch, weights, scalars):
        return self.losses(batch, weights, scalars)[1]

    def compile_evaluate(self, batch, scalars):
        """Compile ahead of the first `evaluate`, for a batch like this one."""
        tensors = {name: tf.constant(x) for name, x in batch.items()}
        self._evaluate(tensors, tf.zeros([len(next(iter(batch.values())))]), tf.constant(scalars, tf.float32))

    def compile_sweep(self, batch, batch_size, scalars, room):
        """Compile ahead of the first sweep, for a batch like this one; nothing moves, and no other rank is asked.

        Args:
            batch, room: as in `sweep`.
            batch_size: B.
            scalars: any.
        """
        stepsize, scalars = tf.constant(0.0), tf.constant(scalars, tf.float32)
        ranks = self.comm.size if self.strategy == "gather" else 1
        tensors = {name: tf.constant(x) for name, x in batch.items()}
        indices, weights = (
            np.zeros((room, ranks * batch_size), np.int32),
            np.zeros((room, ranks * batch_size), np.float32),
        )
        if self.strategy == "average":
            self._step(
                tf.zeros([self.adam.size]),
                tf.constant(False),
                tensors,
                tf.constant(indices[0]),
                tf.constant(weights[0]),
                stepsize,
                scalars,
            )
        elif self.comm.rank == 0:
            everyone = {name: tf.repeat(x, ranks, axis=0) for name, x in tensors.items()}
            self._sweep(everyone, tf.constant(indices), tf.constant(weights), tf.constant(0), stepsize, scalars)

    def sweep(self, batch, indices, weights, stepsize, scalars, room, per_epoch=None, epoch=0):
        """Minibatch after minibatch.

        Args:
            batch: {name: [N, ...] NumPy}, this rank's; N is the same on all ranks.
            indices, weights: [M, B], from `shuffle_into_minibatches`; M and B are the same on all ranks.
            stepsize: Adam's.
            scalars: [S] float32, handed to `losses`.
            room: minibatches at the most, so that all sweeps have one shape.
            per_epoch, epoch: minibatches of an epoch, and the first epoch's number, for errors.

        Returns:
            terms [M, L] float32 of every minibatch before its step, the mean over ranks.

        Raises:
            NotFinite: on all ranks, naming the first minibatch whose terms or gradient are not finite, or whose step left a parameter or moment
                that is not. Parameters and moments of rank 0 are then as they were before it.
        """
        stepsize, scalars = tf.constant(stepsize, tf.float32), tf.constant(scalars, tf.float32)
        self.per_epoch, self.epoch = per_epoch or len(indices), epoch
        if self.strategy == "average":
            return self._averaged(batch, indices, weights, stepsize, scalars)
        return self._gathered(batch, indices, weights, stepsize, scalars, room)

    def _gathered(self, batch, indices, weights, stepsize, scalars, room):
        ranks, rows = self.comm.size, len(next(iter(batch.values())))
        if ranks > 1:
            self.comm.barrier()  # rank 0 may still compile, others still step: those that wait sleep
            batch = {name: self.comm.gather_to_root(x) for name, x in batch.items()}
            indices, weights = self.comm.gather_to_root(indices), self.comm.gather_to_root(weights)
        terms = error = None
        if self.comm.rank == 0:
            if ranks > 1:
                batch = {name: x.reshape(ranks * rows, *x.shape[2:]) for name, x in batch.items()}
                indices = np.concatenate([part + rank * rows for rank, part in enumerate(indices)], axis=1)
                weights = np.concatenate(weights / np.float32(ranks), axis=1)
            batch = {name: tf.constant(x) for name, x in batch.items()}
            count, started = len(indices), self.adam.t.read_value()
            indices, weights = (
                tf.constant(np.concatenate([x, np.zeros((room - count, *x.shape[1:]), x.dtype)]))
                for x in (indices, weights)
            )
            terms, before, finite = self._sweep(batch, indices, weights, tf.constant(count), stepsize, scalars)
            terms = terms.numpy()[:count]
            if not (finite and np.isfinite(terms).all()):
                error = minibatch_bisect.locate_in_compiled_sweep(
                    self, terms, before, started, batch, indices, weights, stepsize, scalars
                )
        self.comm.barrier()  # the others sleep here; a plain broadcast would keep their cores busy
        self.adam.sync()
        terms, said = self.comm.broadcast((terms, error and error.args))
        if said:
            raise error or NonFiniteError(*said)
        return terms

    def _averaged(self, batch, indices, weights, stepsize, scalars):
        arrays = batch | {"weights": weights, "rows": indices}
        batch = {name: tf.constant(x) for name, x in batch.items()}
        indices, weights = tf.unstack(tf.constant(indices)), tf.unstack(tf.constant(weights))
        grad, terms = tf.zeros([self.adam.size]), []
        last = len(indices)
        for i in range(last + 1):  # the last call makes the last step; its gradient is not used
            out = self._step(
                grad, tf.constant(i > 0), batch, indices[min(i, last - 1)], weights[min(i, last - 1)], stepsize, scalars
            )
            if i < last:
                mean = self.comm.mean(out.numpy())
                with np.errstate(all="ignore"):
                    suspect = not np.isfinite(mean @ mean)  # a square overflows sooner, and costs a fifth
                if suspect and not np.isfinite(mean).all():
                    raise minibatch_bisect.locate_in_averaged_sweep(self, i, mean, arrays, stepsize, scalars)
                grad = tf.constant(mean[: self.adam.size])
                terms.append(mean[self.adam.size :])
        return np.stack(terms)

    def evaluate(self, batch, weights, scalars):
        """terms [L] of the whole batch as the parameters now stand, the mean over ranks; nothing moves."""
        terms = self._evaluate(
            {name: tf.constant(x) for name, x in batch.items()}, tf.constant(weights), tf.constant(scalars, tf.float32)
        )
        return self.comm.mean(terms.numpy())
