"""Minimises a loss over demonstrations by epochs of minibatches, with an early stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from common.diagnostics.minibatch_bisect import MinibatchLabel
from common.mpi_adam import get_flat, set_from_flat
from common.optim.minibatch_optimizer import MinibatchOptimizer
from common.optim.minibatch_step import Arrays
from common.optim.minibatches import minibatches_per_epoch, shuffle_into_minibatches

if TYPE_CHECKING:
    from baselines_ppo.cloning.behaviour_cloning import CloningSettings

PATIENCE = 3  # epochs without a better score after which it stops


def fit(
    optimizer: MinibatchOptimizer,
    variables: Sequence[tf.Variable],
    arrays: Arrays,
    used: np.ndarray,
    batch_size: int,
    rng: np.random.Generator,
    settings: CloningSettings,
    score: Callable[[], float] | None,
    on_epoch: Callable[[], None],
) -> int:
    """Run epochs of minibatches, and keep the variables of the one with the best score.

    It stops if the score has not improved for `PATIENCE` epochs. Without a score it runs all epochs.

    Args:
        optimizer: of the loss.
        variables: those that it optimises.
        arrays: {name: [N, ...]}.
        used: [N] bool, the steps to learn from.
        batch_size: steps of a minibatch.
        rng: shuffles them.
        settings: epochs and step size.
        score: returns the number to minimise, computed on steps that are not used; None for no early stop.
        on_epoch: called after every epoch.

    Returns:
        How many epochs it ran.
    """
    count = minibatches_per_epoch(used, batch_size)
    best, kept, best_epoch, epoch = score() if score else 0.0, get_flat(variables), 0, 0
    for epoch in range(1, settings.epochs + 1):
        indices, weights = shuffle_into_minibatches(rng, used, batch_size, 1, count)
        label = MinibatchLabel(count, epoch - 1)
        optimizer.run_minibatches(arrays, indices, weights, settings.stepsize, [], count, label)
        on_epoch()
        if score is None:
            continue
        found = score()
        if found < best:
            best, kept, best_epoch = found, get_flat(variables), epoch
        elif epoch - best_epoch >= PATIENCE:
            break
    if score is not None:
        set_from_flat(variables, kept)
    return epoch
