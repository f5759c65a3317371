"""Minimises a loss by minibatch steps over all ranks.

Two strategies give the same update up to rounding: `GatheredSweep` ("gather") and `AveragedSweep` ("average"). The
choice depends only on the number of ranks, the batch and the network (`choose_averaging`), so a run can be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from common.compilation import Shared
from common.diagnostics.minibatch_bisect import MinibatchLabel
from common.mpi_adam import MpiAdam
from common.optim.averaged_sweep import AveragedSweep
from common.optim.gathered_sweep import GatheredSweep
from common.optim.minibatch_step import Arrays, Losses, MinibatchStep, Tensors

# Ranks * parameters * samples of a minibatch below which "gather" is chosen. An estimate, not measured near the limit:
# an MLP with 64 units and minibatches of 64 is gathered for 8 ranks and more, the network of Mnih et al. 2015 is not.
GATHER_MAX_COST = 12e6


def choose_averaging(ranks: int, parameters: int, batch_size: int) -> str:
    """'gather' or 'average', given the number of ranks, of parameters, and of samples in one rank's minibatch."""
    return "gather" if ranks == 1 or ranks * parameters * batch_size < GATHER_MAX_COST else "average"


def evaluate_graph(step: MinibatchStep, batch: Tensors, weights: tf.Tensor, scalars: tf.Tensor) -> tf.Tensor:
    """Terms [L] of the losses over a batch {name: [N, ...]} with weights [N]."""
    return step.losses(batch, weights, scalars)[1]


class MinibatchOptimizer:
    """Steps on the minibatches of a batch.

    Args:
        losses: function (minibatch {name: [B, ...]}, weights [B] or [B, L], scalars [S]) -> (loss, terms). A mean over
            samples is the sum of weight times value. The terms are logged.
        names: of the L terms.
        optimizer: the `MpiAdam` of the variables to optimise.
        max_grad_norm: a longer mean gradient is scaled down to this norm; None: never.
        xla: compile with XLA.
        averaging: 'gather' or 'average'.
        num_microbatches: parts of a minibatch whose gradients are computed in parallel and added.
        shared: a `common.compilation.Shared` whose `over` returns the losses over another policy's variables; None:
            `losses` are for these variables only.
    """

    def __init__(
        self,
        losses: Losses,
        names: Sequence[str],
        optimizer: MpiAdam,
        max_grad_norm: float | None = None,
        xla: bool = True,
        averaging: str = "gather",
        num_microbatches: int = 1,
        shared: Shared | None = None,
    ):
        step = MinibatchStep(losses, names, optimizer, max_grad_norm, xla, num_microbatches, shared)
        self.comm = optimizer.comm
        self.strategy = GatheredSweep(step) if averaging == "gather" else AveragedSweep(step)
        self._evaluate = step.compiled(evaluate_graph)

    def compile_minibatches(
        self,
        batch: Arrays,
        batch_size: int,
        scalars: Sequence[float],
        max_minibatches: int,
        steps: tuple[int, ...] = (),
    ) -> None:
        """Compile before the first `run_minibatches`, for a batch with the shapes of `batch`. No parameter changes.

        Args:
            batch, max_minibatches: as in `run_minibatches`.
            batch_size: B.
            scalars: [S], any values.
            steps: (L,) if a row is a sequence of L steps, else ().
        """
        self.strategy.compile(batch, batch_size, tf.constant(scalars, tf.float32), max_minibatches, steps)

    def run_minibatches(
        self,
        batch: Arrays,
        indices: np.ndarray,
        weights: np.ndarray,
        stepsize: float,
        scalars: Sequence[float],
        max_minibatches: int,
        label: MinibatchLabel | None = None,
    ) -> np.ndarray:
        """Make one step per minibatch. Collective.

        Args:
            batch: {name: [N, ...]} of this rank; N is the same on all ranks.
            indices, weights: from `shuffle_into_minibatches`, [M, B]; weights of sequences are [M, B, L]. M and B are
                the same on all ranks.
            stepsize: the optimiser's step size.
            scalars: [S], passed to the losses.
            max_minibatches: upper bound of M, so that all calls have the same shapes.
            label: names minibatches in error messages; None: all minibatches are of epoch 0.

        Returns:
            terms [M, L] float32 of each minibatch before its step, averaged over ranks.

        Raises:
            NonFiniteError: on all ranks, for the first minibatch with a non-finite term or gradient, or whose step
                makes a parameter or moment non-finite. Rank 0's parameters and moments are then those before this
                minibatch.
        """
        stepsize, scalars = tf.constant(stepsize, tf.float32), tf.constant(scalars, tf.float32)
        label = label or MinibatchLabel(len(indices))
        return self.strategy.run(batch, indices, weights, stepsize, scalars, max_minibatches, label)

    def compile_evaluate(self, batch: Arrays, scalars: Sequence[float], steps: tuple[int, ...] = ()) -> None:
        """Compile before the first `evaluate`, for a batch with the shapes of `batch`; `steps` as above."""
        tensors = {name: tf.constant(x) for name, x in batch.items()}
        weights = tf.zeros([len(next(iter(batch.values()))), *steps])
        self._evaluate(tensors, weights, tf.constant(scalars, tf.float32))

    def evaluate(self, batch: Arrays, weights: np.ndarray, scalars: Sequence[float]) -> np.ndarray:
        """Terms [L] of the whole batch with the current parameters, averaged over ranks; no parameter changes."""
        tensors = {name: tf.constant(x) for name, x in batch.items()}
        terms = self._evaluate(tensors, tf.constant(weights), tf.constant(scalars, tf.float32))
        return self.comm.mean(terms.numpy())
