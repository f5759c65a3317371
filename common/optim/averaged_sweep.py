"""All-reduced updates: each rank computes a gradient, MPI averages it, and each rank makes the same step."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from common.diagnostics import minibatch_bisect
from common.diagnostics.minibatch_bisect import MinibatchLabel
from common.errors import NonFiniteError
from common.optim.minibatch_step import Arrays, MinibatchStep, SweepStrategy, Tensors


def step_graph(
    step: MinibatchStep,
    grad: tf.Tensor,
    apply_update: tf.Tensor,
    batch: Tensors,
    indices: tf.Tensor,
    weights: tf.Tensor,
    stepsize: tf.Tensor,
    scalars: tf.Tensor,
) -> tf.Tensor:
    """Make the step of the previous minibatch, then compute this rank's gradient of the next: one call instead of two.

    Args:
        step: the `MinibatchStep`.
        grad: [P], averaged over ranks.
        apply_update: scalar bool; False for the first minibatch, which has no previous one.
        batch: {name: [N, ...]}, this rank's.
        indices, weights: [B], of the next minibatch.
        stepsize, scalars: as in `SweepStrategy.run`.

    Returns:
        [P + L], gradient and terms of the next minibatch.
    """
    step.apply(grad, stepsize, apply_update)
    return tf.concat(step.gradient(batch, indices, weights, scalars), axis=0)


class AveragedSweep(SweepStrategy):
    """Averages the gradient of each minibatch over ranks: one TensorFlow call per minibatch; for any network size."""

    def __init__(self, step: MinibatchStep):
        super().__init__(step)
        self.compiled_graph = step.compiled(step_graph)

    def compile(
        self, batch: Arrays, batch_size: int, scalars: tf.Tensor, max_minibatches: int, steps: tuple[int, ...]
    ) -> None:
        """Compile the step of one minibatch by running it once, as `SweepStrategy.compile` requires; changes no
        parameter.
        """
        tensors = {name: tf.constant(x) for name, x in batch.items()}
        indices, weights = tf.zeros([batch_size], tf.int32), tf.zeros([batch_size, *steps])
        grad, apply_update, stepsize = tf.zeros([self.optimizer.size]), tf.constant(False), tf.constant(0.0)
        self.compiled_graph(grad, apply_update, tensors, indices, weights, stepsize, scalars)

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
        """Make one step per minibatch with gradients averaged over ranks; arguments, result and errors as
        `SweepStrategy.run`.
        """
        arrays = batch | {"weights": weights, "rows": indices}
        batch = {name: tf.constant(x) for name, x in batch.items()}
        indices, weights = tf.unstack(tf.constant(indices)), tf.unstack(tf.constant(weights))
        size, last = self.optimizer.size, len(indices)
        grad, terms = tf.zeros([size]), []
        for i in range(last + 1):  # the last call only makes the last step; its gradient is not used
            following = min(i, last - 1)
            out = self.compiled_graph(
                grad, tf.constant(i > 0), batch, indices[following], weights[following], stepsize, scalars
            )
            if i < last:
                mean = self.comm.mean(out.numpy())
                with np.errstate(all="ignore"):
                    # takes a fifth of the time of the exact check, but a square may overflow
                    suspect = not np.isfinite(mean @ mean)
                if suspect and not np.isfinite(mean).all():
                    raise self._error_of_minibatch(i, label, mean, arrays, stepsize, scalars)
                grad = tf.constant(mean[:size])
                terms.append(mean[size:])
        return np.stack(terms)

    def _error_of_minibatch(
        self,
        i: int,
        label: MinibatchLabel,
        mean: np.ndarray,
        arrays: Arrays,
        stepsize: tf.Tensor,
        scalars: tf.Tensor,
    ) -> NonFiniteError:
        """The error of minibatch i; parameters are those before its step. Collective: all ranks get the same text.

        Args:
            i: number of the minibatch.
            label: the sweep's `MinibatchLabel`.
            mean: [P + L], gradient and terms over all ranks.
            arrays: {name: [N, ...]} of this rank's batch, and `weights`, `rows` [M, B].
            stepsize, scalars: the sweep's.
        """
        indices = arrays["rows"][i]
        own = {name: x[i] if name in ("rows", "weights") else x[indices] for name, x in arrays.items()}
        error = minibatch_bisect.minibatch_error(
            label.describe(i),
            self.step.names,
            mean[self.optimizer.size :],
            grad=mean[: self.optimizer.size],
            rows=minibatch_bisect.gather_rows(self.comm, own),
            largest_parameter=self.optimizer.largest_parameter(),
            stepsize=stepsize,
            scalars=scalars,
        )
        return NonFiniteError(*self.comm.broadcast(error.args), error.arrays, error.facts)  # only rank 0 has the rows
