"""Which rows stand in which minibatch: index arrays of one shape, whatever the number of rows that count."""

import numpy as np

from common.errors import UserError


def shuffle_into_minibatches(rng, valid, batch_size, epochs, max_minibatches=None):
    """Indices and weights of `epochs` shuffled passes over the rows that count.

    Rows that do not fill a last minibatch are dropped, as in Baselines, anew in every epoch. One minibatch of all rows is what `batch_size=None`
    makes, and what is made where fewer rows than one count: some steps of a segment may only have reset their environments.

    Args:
        rng: NumPy generator.
        valid: [N] bool, the rows that count.
        batch_size: B, rows a minibatch, or None.
        epochs: passes.
        max_minibatches: minibatches a pass at the most; the ranks agree on the least of theirs.

    Returns:
        indices [M, B] int32 and weights [M, B] float32, whose rows sum to 1: a mean is a sum of weight times value.

    Raises:
        UserError: if none counts.
    """
    rows = np.flatnonzero(valid)
    if not len(rows):
        raise UserError(
            "no step of this segment counts: every one was the reset of an environment; make timesteps_per_actorbatch larger"
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


def minibatches_per_epoch(valid, batch_size):
    """How many whole minibatches of `batch_size` rows (None: all) the rows that count make; 1 where they make none."""
    return 1 if batch_size is None else max(1, int(np.count_nonzero(valid)) // batch_size)
