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
        valid: [N] bool; [R, L] if a row of the batch is a sequence of L steps.
        batch_size: B, rows per minibatch; None: all.
        epochs: number of epochs.
        max_minibatches: minibatches per epoch, which ranks agree on as the minimum of theirs; None: as many as
            possible.

    Returns:
        indices [M, B] int32 and weights [M, B] float32; for sequences weights [M, B, L]. The weights of a minibatch sum
        to 1: a mean is a sum of weight times value.

    Raises:
        UserError: if no sample is valid.
    """
    rows = np.flatnonzero(rows_with_valid(valid))
    if not len(rows):
        raise UserError(
            "no valid samples in this segment: all steps were environment resets; increase timesteps_per_actorbatch"
        )
    if batch_size is None or len(rows) < batch_size:
        size = len(valid) if batch_size is None else batch_size
        indices = np.concatenate([rows, np.full(size - len(rows), rows[0])]).astype(np.int32)
        weights = step_weights(valid, indices[None], np.arange(size)[None] < len(rows))
        return np.tile(indices, (epochs, 1)), np.concatenate([weights] * epochs)
    count = minibatches_per_epoch(valid, batch_size) if max_minibatches is None else max_minibatches
    indices = np.concatenate(
        [rng.permutation(rows)[: count * batch_size].reshape(count, batch_size) for _ in range(epochs)]
    )
    indices = indices.astype(np.int32)
    if valid.ndim == 1:
        return indices, np.full(indices.shape, 1 / batch_size, np.float32)
    return indices, step_weights(valid, indices, np.ones(indices.shape, bool))


def rows_with_valid(valid: np.ndarray) -> np.ndarray:
    """Whether a row has a valid sample, [N] bool, for `valid` [N] or [R, L]."""
    return valid if valid.ndim == 1 else valid.any(axis=1)


def step_weights(valid: np.ndarray, indices: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Weights of the samples in the rows `indices` [M, B], equal for all valid ones of a minibatch; 0 where not `used`.

    Returns:
        [M, B], or [M, B, L] for `valid` [R, L]; float32, of sum 1 for each minibatch.
    """
    weights = valid[indices] & (used if valid.ndim == 1 else used[..., None])
    counts = weights.reshape(len(weights), -1).sum(axis=1)
    return (weights / counts.reshape(-1, *[1] * (weights.ndim - 1)).astype(np.float32)).astype(np.float32)


def minibatches_per_epoch(valid: np.ndarray, batch_size: int | None) -> int:
    """Number of full minibatches of `batch_size` rows with valid samples, at least 1; 1 if `batch_size` is None."""
    return 1 if batch_size is None else max(1, int(np.count_nonzero(rows_with_valid(valid))) // batch_size)
