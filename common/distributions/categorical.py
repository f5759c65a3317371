"""Categorical distributions and products of them, for Discrete, MultiDiscrete and a Box of integers."""

from __future__ import annotations

from collections.abc import Iterable

import gymnasium as gym
import numpy as np
import tensorflow as tf

from common.distributions.array_ops import (
    FINITE_MINUS_INFINITY,
    MASKED_LOGIT,
    Array,
    Operators,
    TensorFlowOperators,
    draw_gumbel,
)
from common.distributions.base import Pd, PdType
from common.runtime.tf_import import import_tfd


class CategoricalPd(Pd):
    """Categorical distributions over start .. start + n - 1; the parameters are n logits."""

    pdtype: CategoricalPdType

    def __init__(self, pdtype: PdType, flat: tf.Tensor) -> None:
        super().__init__(pdtype, flat)
        self.distribution = import_tfd().Categorical(logits=self.flat)

    def logp(self, x: Array) -> tf.Tensor:
        """Return the log probability of actions `x` [...] in nats, [...]; `x` is from start to start + n - 1."""
        return self.distribution.log_prob(tf.cast(x, tf.int32) - self.pdtype.start)

    def kl(self, other: CategoricalPd) -> tf.Tensor:
        """Return KL(self || other) in nats, [...]."""
        return self.distribution.kl_divergence(other.distribution)

    def entropy(self) -> tf.Tensor:
        """Return the entropy in nats, [...]."""
        return self.distribution.entropy()


class CategoricalPdType(PdType):
    """Categorical distribution for Discrete."""

    pd_class = CategoricalPd

    def __init__(self, space: gym.spaces.Discrete) -> None:
        super().__init__(space)
        self.n = int(space.n)
        self.start = int(space.start)

    def param_shape(self) -> list[int]:
        """Return [n], one logit per action."""
        return [self.n]

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw standard Gumbel noise [*shape, n] float32 for a batch of `shape`, from a NumPy generator."""
        return rng.gumbel(size=(*shape, self.n)).astype(np.float32)

    def tf_noise(self, shape: tf.Tensor) -> tf.Tensor:
        """Draw standard Gumbel noise [*shape, n] float32 from TensorFlow's global generator."""
        return draw_gumbel(tf.concat([shape, [self.n]], axis=0))

    def sample(self, ops: Operators, flat: Array, noise: Array) -> Array:
        """Return start + argmax(logits + noise), [...] int32: with Gumbel noise, an exact sample (the Gumbel-max
        trick).
        """
        return self.mode(ops, flat + noise)  # the Gumbel-max trick

    def mode(self, ops: Operators, flat: Array) -> Array:
        """Return start + argmax(logits), [...] int32."""
        return ops.to_int(ops.argmax(flat, axis=-1)) + self.start

    def num_choices(self) -> int:
        """Return n."""
        return self.n

    def mask_flat(self, ops: Operators, flat: Array, mask: Array) -> Array:
        """Return logits [..., n] that are very negative where the mask [..., n] is False."""
        return ops.where(ops.to_bool(mask), flat, MASKED_LOGIT)


# ---- product of categoricals


class LogitBlock:
    """Several factors of a product of categoricals, gathered into one padded tensor.

    Args:
        factor_ids: indices of the factors in the product.
        ends: [F] index after the last logit of each factor of the product, in the vector of all logits.
        sizes: [F] number of logits of each factor.

    Attributes:
        mask: [F', n] bool, False in the padding, where n is the largest size of a factor of this block.
        index: [F', n] int32, index of each logit in the vector of all logits; 0 in the padding.
    """

    def __init__(self, factor_ids: np.ndarray, ends: np.ndarray, sizes: np.ndarray) -> None:
        self.factor_ids = factor_ids
        sizes = sizes[factor_ids]
        columns = np.arange(sizes.max())
        self.mask = columns < sizes[:, None]
        self.index = np.where(self.mask, (ends[factor_ids] - sizes)[:, None] + columns, 0).astype(np.int32)

    def gather(self, ops: Operators, flat: Array, fill_value: float) -> Array:
        """Return the logits [..., F', n] of `flat` [..., p], with `fill_value` in the padding."""
        logits = ops.take(flat, self.index, axis=-1)
        return logits if self.mask.all() else ops.where(self.mask, logits, fill_value)


def group_logits(ends: np.ndarray, sizes: np.ndarray) -> list[LogitBlock]:
    """Group the factors of a product into a few `LogitBlock`s, so that the graph does not grow with the number of
    factors.

    Factors of similar size share a block (up to 8, 128, 2,048, ... logits), so that padding costs little.

    Args:
        ends: [F], as `LogitBlock` takes them.
        sizes: [F], as `LogitBlock` takes them.
    """
    magnitudes = [(n - 1).bit_length() // 4 for n in sizes.tolist()]
    return [LogitBlock(np.flatnonzero(np.equal(magnitudes, m)), ends, sizes) for m in sorted(set(magnitudes))]


class MultiCategoricalPd(Pd):
    """Products of categoricals; the parameters are the logits of all factors, concatenated."""

    pdtype: MultiCategoricalPdType

    def __init__(self, pdtype: MultiCategoricalPdType, flat: tf.Tensor) -> None:
        super().__init__(pdtype, flat)
        self.distributions = [
            import_tfd().Categorical(logits=block.gather(TensorFlowOperators, self.flat, FINITE_MINUS_INFINITY))
            for block in pdtype.blocks
        ]

    def logp(self, x: Array) -> tf.Tensor:
        """Return the log probability of actions `x` [..., *space.shape] in nats, [...]: the sum over the factors."""
        shape = tf.concat([tf.shape(self.flat)[:-1], [len(self.pdtype.sizes)]], axis=0)
        x = tf.reshape(tf.cast(x, tf.int32), shape) - self.pdtype.starts
        return self._sum_factors(
            distribution.log_prob(tf.gather(x, block.factor_ids, axis=-1))
            for distribution, block in zip(self.distributions, self.pdtype.blocks)
        )

    def kl(self, other: MultiCategoricalPd) -> tf.Tensor:
        """Return KL(self || other) in nats, [...]: the sum over the factors."""
        return self._sum_factors(p.kl_divergence(q) for p, q in zip(self.distributions, other.distributions))

    def entropy(self) -> tf.Tensor:
        """Return the entropy in nats, [...]: the sum over the factors."""
        return self._sum_factors(distribution.entropy() for distribution in self.distributions)

    @staticmethod
    def _sum_factors(blocks: Iterable[tf.Tensor]) -> tf.Tensor:
        """Sum values [..., F'] of each block over all factors."""
        return tf.add_n([tf.reduce_sum(x, axis=-1) for x in blocks])


class MultiCategoricalPdType(PdType):
    """Product of categoricals for a MultiDiscrete of any rank."""

    pd_class = MultiCategoricalPd

    def __init__(self, space: gym.spaces.MultiDiscrete) -> None:
        super().__init__(space)
        self._set_factors(space.nvec, space.start)

    def _set_factors(self, sizes: np.ndarray, starts: np.ndarray) -> None:
        """Set what follows from the numbers of choices and the first choices of the space's entries."""
        self.sizes = np.ravel(sizes).astype(int)
        self.starts = np.ravel(starts).astype(np.int32)
        self.ends = np.cumsum(self.sizes)
        self.blocks = group_logits(self.ends, self.sizes)
        # position of each factor of the space in the concatenated blocks
        self.order = np.argsort(np.concatenate([block.factor_ids for block in self.blocks])).astype(np.int32)

    def param_shape(self) -> list[int]:
        """Return [p], where p is the number of logits of all factors together."""
        return [int(self.ends[-1])]

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw standard Gumbel noise [*shape, p] float32 for a batch of `shape`, from a NumPy generator."""
        return rng.gumbel(size=(*shape, *self.param_shape())).astype(np.float32)

    def tf_noise(self, shape: tf.Tensor) -> tf.Tensor:
        """Draw standard Gumbel noise [*shape, p] float32 from TensorFlow's global generator."""
        return draw_gumbel(tf.concat([shape, self.param_shape()], axis=0))

    def sample(self, ops: Operators, flat: Array, noise: Array) -> Array:
        """Return start + argmax(logits + noise) of each factor, [..., *space.shape] int32 (the Gumbel-max trick)."""
        return self.mode(ops, flat + noise)  # the Gumbel-max trick

    def mode(self, ops: Operators, flat: Array) -> Array:
        """Return start + argmax(logits) of each factor, [..., *space.shape] int32."""
        best = [ops.to_int(ops.argmax(block.gather(ops, flat, -np.inf), axis=-1)) for block in self.blocks]
        actions = best[0] if len(best) == 1 else ops.take(ops.concatenate(best, axis=-1), self.order, axis=-1)
        return self.to_space_shape(actions + self.starts)

    def num_choices(self) -> int:
        """Return p, the number of choices of all factors together, in the order of the logits."""
        return int(self.ends[-1])

    def mask_flat(self, ops: Operators, flat: Array, mask: Array) -> Array:
        """Return logits [..., p] that are very negative where the mask [..., p] is False."""
        return ops.where(ops.to_bool(mask), flat, MASKED_LOGIT)


class IntegerBoxPdType(MultiCategoricalPdType):
    """Product of categoricals for a bounded Box of integers or bools: one over the numbers from low to high per entry.

    Its actions are int32, [..., *space.shape].
    """

    def __init__(self, space: gym.spaces.Box) -> None:
        PdType.__init__(self, space)
        self._set_factors(*integer_choices(space))


def integer_choices(space: gym.spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """Return how many choices each entry of a Box of integers has, and which is the first: arrays [n] of Python ints.

    Python's ints, because high - low + 1 of a 64-bit integer may need 65 bits.
    """
    low, high = (np.array([int(x) for x in np.ravel(bound)], object) for bound in (space.low, space.high))
    return high - low + 1, low
