"""The operations that sampling and masking need, on NumPy arrays or on tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

# Logit of an index that does not exist, or of an invalid action. Minus infinity times its probability of 0 would be NaN
# in entropy and KL.
FINITE_MINUS_INFINITY = -1e38
MASKED_LOGIT = np.float32(FINITE_MINUS_INFINITY)

Array = Any  # np.ndarray or tf.Tensor: the same kind as the other arguments
Operation = Callable[..., Array]


class NumpyOperators:
    """The operations that sampling and masks need, on NumPy arrays."""

    exp: ClassVar[Operation] = staticmethod(np.exp)
    argmax: ClassVar[Operation] = staticmethod(np.argmax)
    take: ClassVar[Operation] = staticmethod(np.take)
    where: ClassVar[Operation] = staticmethod(np.where)
    concatenate: ClassVar[Operation] = staticmethod(np.concatenate)

    @staticmethod
    def to_int(x: Array) -> Array:
        """Cast to int32."""
        return x.astype(np.int32)

    @staticmethod
    def to_float64(x: Array) -> Array:
        """Cast to float64."""
        return x.astype(np.float64)

    @staticmethod
    def to_bool(x: Array) -> Array:
        """Cast to bool."""
        return np.asarray(x, bool)

    @staticmethod
    def repeat_rows(x: Array, like: Array) -> Array:
        """Repeat a vector [n] for each row of `like` [..., m]: [..., n]."""
        return np.broadcast_to(x, (*like.shape[:-1], *x.shape))


class TensorFlowOperators:
    """The operations that sampling and masks need, on tensors."""

    exp: ClassVar[Operation] = staticmethod(tf.exp)
    argmax: ClassVar[Operation] = staticmethod(tf.argmax)
    take: ClassVar[Operation] = staticmethod(tf.gather)
    where: ClassVar[Operation] = staticmethod(tf.where)
    concatenate: ClassVar[Operation] = staticmethod(tf.concat)

    @staticmethod
    def to_int(x: Array) -> Array:
        """Cast to int32."""
        return tf.cast(x, tf.int32)

    @staticmethod
    def to_float64(x: Array) -> Array:
        """Cast to float64."""
        return tf.cast(x, tf.float64)

    @staticmethod
    def to_bool(x: Array) -> Array:
        """Cast to bool."""
        return tf.cast(x, tf.bool)

    @staticmethod
    def repeat_rows(x: Array, like: Array) -> Array:
        """Repeat a vector [n] for each row of `like` [..., m]: [..., n]."""
        return tf.broadcast_to(x, tf.concat([tf.shape(like)[:-1], tf.shape(x)], axis=0))


Operators = type[NumpyOperators] | type[TensorFlowOperators]


def draw_gumbel(shape: tf.Tensor) -> tf.Tensor:
    """Draw standard Gumbel noise of this shape, float32."""
    return -tf.math.log(-tf.math.log(tf.random.uniform(shape, minval=np.finfo(np.float32).tiny)))


class Entries:
    """Chosen entries of vectors [..., n].

    Args:
        index: int array, the entries in the order in which they are taken.
    """

    def __init__(self, index: np.ndarray) -> None:
        self.index = index.astype(np.int32)
        first = int(index[0]) if len(index) else 0
        # entries in a row are a slice, which takes less time
        is_range = np.array_equal(index, np.arange(first, first + len(index)))
        self.slice = slice(first, first + len(index)) if is_range else None

    def take(self, ops: Operators, x: Array) -> Array:
        """Return the entries of `x` [..., n], in NumPy or TensorFlow, as `ops` is: [..., len(index)]."""
        return x[..., self.slice] if self.slice is not None else ops.take(x, self.index, axis=-1)


class Joined:
    """Puts groups of entries back where they belong: the inverse of taking each group by its `Entries`.

    Args:
        groups: the entries of each group; together they are 0 to n - 1, each once.
    """

    def __init__(self, groups: Sequence[Entries]) -> None:
        index = np.concatenate([group.index for group in groups])
        self.order = np.argsort(index).astype(np.int32)
        self.is_ordered = np.array_equal(index, np.arange(len(index)))

    def join(self, ops: Operators, groups: Sequence[Array]) -> Array:
        """Return [..., n] of arrays [..., len(index)] of the groups."""
        x = groups[0] if len(groups) == 1 else ops.concatenate(groups, axis=-1)
        return x if self.is_ordered else ops.take(x, self.order, axis=-1)
