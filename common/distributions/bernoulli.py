"""Independent bits, for MultiBinary."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import tensorflow as tf

from common.distributions.array_ops import MASKED_LOGIT, Array, Operators, draw_gumbel
from common.distributions.base import Pd, PdType
from common.runtime.tf_import import import_tfd


class BernoulliPd(Pd):
    """Independent bits, actions [..., *space.shape] of 0 and 1; the parameters are a logit for each bit."""

    def __init__(self, pdtype: PdType, flat: tf.Tensor) -> None:
        super().__init__(pdtype, flat)
        self.distribution = import_tfd().Bernoulli(logits=self.flat)

    def logp(self, x: Array) -> tf.Tensor:
        """Return the log probability of bits `x` [..., *space.shape] in nats, [...]: the sum over the bits."""
        x = tf.reshape(tf.cast(x, tf.float32), tf.shape(self.flat))
        # log p(1) = -softplus(-l), log p(0) = -softplus(l): exact in both tails
        return -tf.reduce_sum(tf.nn.softplus((1 - 2 * x) * self.flat), axis=-1)

    def kl(self, other: BernoulliPd) -> tf.Tensor:
        """Return KL(self || other) in nats, [...]: the sum over the bits."""
        return tf.reduce_sum(self.distribution.kl_divergence(other.distribution), axis=-1)

    def entropy(self) -> tf.Tensor:
        """Return the entropy in nats, [...]: the sum over the bits."""
        return tf.reduce_sum(self.distribution.entropy(), axis=-1)


class BernoulliPdType(PdType):
    """Independent Bernoulli distributions for a MultiBinary of any rank."""

    pd_class = BernoulliPd

    def __init__(self, space: gym.spaces.MultiBinary) -> None:
        super().__init__(space)
        self.size = int(np.prod(space.shape))

    def param_shape(self) -> list[int]:
        """Return [n], one logit per bit: the log odds of a 1."""
        return [self.size]

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw standard logistic noise [*shape, n] float32 for a batch of `shape`, from a NumPy generator."""
        return rng.logistic(size=(*shape, self.size)).astype(np.float32)

    def tf_noise(self, shape: tf.Tensor) -> tf.Tensor:
        """Draw standard logistic noise [*shape, n] float32 from TensorFlow's global generator."""
        shape = tf.concat([shape, [self.size]], axis=0)
        return draw_gumbel(shape) - draw_gumbel(shape)  # the difference of two Gumbel variables is logistic

    def sample(self, ops: Operators, flat: Array, noise: Array) -> Array:
        """Return 1 where logit + noise > 0, else 0, [..., *space.shape] int32."""
        return self.mode(ops, flat + noise)  # P(l + logistic > 0) = sigmoid(l)

    def mode(self, ops: Operators, flat: Array) -> Array:
        """Return 1 where the logit is above 0, else 0, [..., *space.shape] int32."""
        return self.to_space_shape(ops.to_int(flat > 0))

    def num_choices(self) -> int:
        """Return 2n, for n bits: whether the first bit may be 0, whether it may be 1, then the next bit."""
        return 2 * self.size

    def mask_flat(self, ops: Operators, flat: Array, mask: Array) -> Array:
        """Return logits that are very negative for a bit that may not be 1, very positive for one that may not be 0."""
        mask = ops.to_bool(mask)
        may_be_0, may_be_1 = mask[..., ::2], mask[..., 1::2]
        # where neither is valid, the bit is left free
        certain = ops.where(may_be_1, -MASKED_LOGIT, MASKED_LOGIT)
        return ops.where(may_be_0 == may_be_1, flat, certain)
