"""Integer partitions."""

import numpy as np


def even_splits(count: int, groups: int) -> list[int]:
    """Return the `groups` + 1 boundaries that split `count` items into groups whose sizes differ by at most one."""
    boundaries: list[int] = np.linspace(0, count, groups + 1).astype(int).tolist()
    return boundaries
