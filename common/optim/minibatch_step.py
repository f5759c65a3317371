"""Gradient and step of one minibatch, and the interface of the two ways to run a sequence of them."""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from common.compilation import Compiled, Shared
from common.diagnostics.minibatch_bisect import MinibatchLabel
from common.mpi_adam import MpiAdam, clip_by_norm
from common.runtime.partition import even_splits

Arrays = dict[str, np.ndarray]  # of a batch: {name: [N, ...]}
Tensors = dict[str, tf.Tensor]  # of a batch or a minibatch: {name: [N, ...] or [B, ...]}
# (minibatch, weights [B] or, for sequences, [B, L], scalars [S]) -> (loss, terms)
Losses = Callable[[Tensors, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


class MinibatchStep:
    """Optimises a loss by the gradient over one minibatch. Arguments are those of `MinibatchOptimizer`."""

    def __init__(
        self,
        losses: Losses,
        names: Sequence[str],
        optimizer: MpiAdam,
        max_grad_norm: float | None,
        xla: bool,
        num_microbatches: int,
        shared: Shared | None,
    ):
        self.losses = losses
        self.names = tuple(names)
        self.optimizer = optimizer
        self.max_grad_norm = max_grad_norm
        self.xla = xla
        self.num_microbatches = num_microbatches
        self.shared = shared

    def compiled(self, graph: Callable) -> Compiled:
        """Compile the function `graph(step, *tensors)` with this step, for other trainings too if `shared` is given."""
        return Compiled(self._bound(graph), self.xla, None if self.shared is None else self._shared(graph))

    def _bound(self, graph: Callable) -> Callable:
        """The function (*tensors) that calls `graph` with this step."""
        return lambda *tensors: graph(self, *tensors)

    def _shared(self, graph: Callable) -> Shared:
        """The description by which trainings share the compiled `graph`, each with a step over its own variables."""
        optimizer, shared = self.optimizer, self.shared
        count = len(shared.variables)
        optimised = [
            next(i for i, x in enumerate(shared.variables) if x is variable) for variable in optimizer.var_list
        ]

        def over(variables: list[tf.Variable]) -> Callable:
            step = copy.copy(self)
            step.losses = shared.over(variables[:count])
            step.optimizer = optimizer.over([variables[i] for i in optimised], variables[count:])
            return step._bound(graph)

        key = (
            (graph.__module__, graph.__qualname__),
            (self.names, self.max_grad_norm, self.num_microbatches, tuple(optimised)),
            optimizer.hyperparameters,
        )
        return shared.then(key, [*shared.variables, *optimizer.state_variables()], over)

    def gradient(
        self, batch: Tensors, indices: tf.Tensor, weights: tf.Tensor, scalars: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Gradient and loss terms of one minibatch on this rank: sums over samples, so that microbatches add up.

        Args:
            batch: {name: [N, ...]}.
            indices: [B] int32, the samples of the minibatch.
            weights: [B] float32, or [B, L] if a row is a sequence of L steps.
            scalars: [S], passed to the losses.

        Returns:
            (gradient [P], terms [L]).
        """
        bounds = even_splits(indices.shape[0], self.num_microbatches)
        results = [
            self._microbatch_gradient(batch, indices[start:end], weights[start:end], scalars)
            for start, end in zip(bounds, bounds[1:])
            if end > start
        ]
        return tuple(tf.add_n(summands) for summands in zip(*results))

    def _microbatch_gradient(
        self, batch: Tensors, indices: tf.Tensor, weights: tf.Tensor, scalars: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        minibatch = {name: tf.gather(x, indices) for name, x in batch.items()}
        variables = self.optimizer.var_list
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss, terms = self.losses(minibatch, weights, scalars)
        grads = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return tf.concat([tf.reshape(g, [-1]) for g in grads], axis=0), terms

    def apply(self, grad: tf.Tensor, stepsize: tf.Tensor, apply_update: tf.Tensor | bool = True) -> None:
        """Clip a gradient [P] by its norm and make one step; nothing if `apply_update` is False."""
        if self.max_grad_norm is not None:
            grad, _ = clip_by_norm(grad, self.max_grad_norm)
        self.optimizer.apply(grad, stepsize, apply_update)


class SweepStrategy(abc.ABC):
    """A way to run a sequence of minibatches over all ranks.

    Args:
        step: the `MinibatchStep`.
    """

    def __init__(self, step: MinibatchStep):
        self.step = step
        self.optimizer = step.optimizer
        self.comm = step.optimizer.comm

    @abc.abstractmethod
    def compile(
        self, batch: Arrays, batch_size: int, scalars: tf.Tensor, max_minibatches: int, steps: tuple[int, ...]
    ) -> None:
        """Compile before the first sweep, for the shapes of `batch`. No parameter changes; no other rank takes part.

        Args:
            batch, max_minibatches: as in `run`.
            batch_size: B.
            scalars: [S], any values.
            steps: (L,) if a row is a sequence of L steps, else ().
        """

    @abc.abstractmethod
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
        """Run the minibatches: `MinibatchOptimizer.run_minibatches`, with `stepsize` and `scalars` as tensors."""
