"""Where the logits of many categoricals, side by side in one vector, stand in a few tensors: a graph of them does not grow with their number."""

import numpy as np


class Block:
    """Some factors of a product of categoricals as one tensor.

    Args:
        numbers: of the factors.
        ends, sizes: [F] where the logits of each factor of the product end, and how many they are.

    Attributes:
        index: [F', n] which logits are whose, where n is the most that one factor has; `real`: [F', n] bool, False where there is none.
    """

    def __init__(self, numbers, ends, sizes):
        self.numbers, sizes = numbers, sizes[numbers]
        columns = np.arange(sizes.max())
        self.real = columns < sizes[:, None]
        self.index = np.where(self.real, (ends[numbers] - sizes)[:, None] + columns, 0).astype(np.int32)

    def logits(self, ops, flat, nothing):
        """[..., F', n] for `flat` [..., p], with `nothing` where there is no logit."""
        found = ops.take(flat, self.index, axis=-1)
        return found if self.real.all() else ops.where(self.real, found, nothing)


def group_logits(ends, sizes):
    """The `Block`s of a product: each factor stands with others that are not much smaller, so that what is filled up does not count.

    Args:
        ends, sizes: [F] as `Block` takes them.
    """
    magnitude = [(n - 1).bit_length() // 4 for n in sizes.tolist()]  # up to 8, 128, 2048, ...
    return [Block(np.flatnonzero(np.equal(magnitude, one)), ends, sizes) for one in sorted(set(magnitude))]
