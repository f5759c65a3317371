"""Which rows stand in which minibatch: index arrays of one shape, whatever the number of rows that count."""
import numpy as np

from common.errors import UserError


def plan_minibatches(rng, valid, batch_size, epochs, max_minibatches=None):
    """Indices and weights of `epochs` shuffled passes over the rows that count.

    Rows that do not fill a last minibatch are dropped, as in Baselines, anew in every epoch. `batch_size=None` is one minibatch of
    all rows.

    Args:
        rng: NumPy generator.
        valid: [N] bool, the rows that count.
        batch_size: B, rows a minibatch, or None.
        epochs: passes.
        max_minibatches: minibatches a pass at the most; the ranks agree on the least of theirs.

    Returns:
        indices [M, B] int32 and weights [M, B] float32, whose rows sum to 1: a mean is a sum of weight times value.

    Raises:
        UserError: if fewer rows than `batch_size` count.
    """
    rows = np.flatnonzero(valid)
    if not len(rows):
        raise UserError("no step of this segment counts: every one was the reset of an environment; make timesteps_per_actorbatch larger")
    if batch_size is None:
        indices = np.zeros(len(valid), np.int32)
        indices[:len(rows)] = rows
        weights = (np.arange(len(valid)) < len(rows)) / np.float32(len(rows))
        return np.tile(indices, (epochs, 1)), np.tile(weights.astype(np.float32), (epochs, 1))
    count = minibatches_per_epoch(valid, batch_size) if max_minibatches is None else max_minibatches
    if count == 0:
        raise UserError(f"optim_batchsize={batch_size} is more than the {len(rows)} steps of a segment; make it smaller, or timesteps_per_actorbatch larger")
    indices = np.concatenate([rng.permutation(rows)[:count * batch_size].reshape(count, batch_size) for _ in range(epochs)])
    return indices.astype(np.int32), np.full(indices.shape, 1 / batch_size, np.float32)


def minibatches_per_epoch(valid, batch_size):
    """How many whole minibatches of `batch_size` rows (None: all) the rows that count make."""
    return 1 if batch_size is None else int(np.count_nonzero(valid)) // batch_size
