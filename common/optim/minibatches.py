"""Assigns samples to minibatches: index arrays whose shape does not depend on the number of valid samples."""

from __future__ import annotations

import numpy as np

from common.errors import UserError


def shuffle_into_minibatches(
    rng: np.random.Generator,
    valid: np.ndarray,
    batch_size: int | None,
    epochs: int,
    max_minibatches: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Assign the valid samples to minibatches at random, once per epoch.

    Samples that do not fill a last minibatch are dropped, as in Baselines, and chosen again in each epoch. There is one
    minibatch of all samples if `batch_size` is None, or if there are fewer valid samples than `batch_size`: in some
    autoreset modes, steps of a segment only reset an environment.

    Args:
        rng: NumPy generator.
        valid: [N] bool.
        batch_size: B, samples per minibatch; None: N.
        epochs: number of epochs.
        max_minibatches: minibatches per epoch, which ranks agree on as the minimum of theirs; None: as many as
            possible.

    Returns:
        indices [M, B] int32 and weights [M, B] float32. The weights of a minibatch sum to 1: a mean is a sum of weight
        times value.

    Raises:
        UserError: if no sample is valid.
    """
    rows = np.flatnonzero(valid)
    if not len(rows):
        raise UserError(
            "no valid samples in this segment: all steps were environment resets; increase timesteps_per_actorbatch"
        )
    if batch_size is None or len(rows) < batch_size:
        size = len(valid) if batch_size is None else batch_size
        indices = np.concatenate([rows, np.full(size - len(rows), rows[0])]).astype(np.int32)
        weights = (np.arange(size) < len(rows)) / np.float32(len(rows))
        return np.tile(indices, (epochs, 1)), np.tile(weights.astype(np.float32), (epochs, 1))
    count = minibatches_per_epoch(valid, batch_size) if max_minibatches is None else max_minibatches
    indices = np.concatenate(
        [rng.permutation(rows)[: count * batch_size].reshape(count, batch_size) for _ in range(epochs)]
    )
    return indices.astype(np.int32), np.full(indices.shape, 1 / batch_size, np.float32)


def minibatches_per_epoch(valid: np.ndarray, batch_size: int | None) -> int:
    """Number of full minibatches of `batch_size` valid samples, at least 1; 1 if `batch_size` is None."""
    return 1 if batch_size is None else max(1, int(np.count_nonzero(valid)) // batch_size)
