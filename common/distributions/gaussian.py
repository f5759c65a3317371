"""Independent Gaussians, for a Box of floats."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import tensorflow as tf

from common.distributions.array_ops import Array, Operators
from common.distributions.base import Pd, PdType


class DiagGaussianPd(Pd):
    """Independent Gaussians; the last axis of the parameters is [mean, log std]."""

    def __init__(self, pdtype: PdType, flat: tf.Tensor) -> None:
        super().__init__(pdtype, flat)
        self.mean, self.logstd = tf.split(self.flat, 2, axis=-1)

    def logp(self, x: Array) -> tf.Tensor:
        """Return the log density of actions `x` [..., *sample_shape] in nats, [...]."""
        x = tf.reshape(tf.cast(x, self.flat.dtype), tf.shape(self.mean))
        z = (x - self.mean) * tf.exp(-self.logstd)
        return -0.5 * tf.reduce_sum(tf.square(z) + math.log(2 * math.pi), axis=-1) - tf.reduce_sum(self.logstd, axis=-1)

    def kl(self, other: DiagGaussianPd) -> tf.Tensor:
        """Return KL(self || other) in nats, [...]: sum of log(s'/s) + (s^2 + (m - m')^2) / (2 s'^2) - 1/2 over the
        dimensions.
        """
        # expm1: for two almost equal standard deviations exp(2d) - 1 - 2d would be rounding error only
        d = self.logstd - other.logstd
        z = (self.mean - other.mean) * tf.exp(-other.logstd)
        return tf.reduce_sum(0.5 * (tf.math.expm1(2 * d) + tf.square(z)) - d, axis=-1)

    def entropy(self) -> tf.Tensor:
        """Return the differential entropy in nats, [...]: sum of log s + log(2 pi e) / 2 over the dimensions."""
        return tf.reduce_sum(self.logstd + 0.5 * math.log(2 * math.pi * math.e), axis=-1)


class DiagGaussianPdType(PdType):
    """Independent Gaussians for a Box. Samples are not clipped to the box; the environment adapter clips them."""

    pd_class = DiagGaussianPd

    def __init__(self, space: gym.spaces.Box) -> None:
        super().__init__(space)
        self.size = int(np.prod(space.shape))

    def param_shape(self) -> list[int]:
        """Return [2n] for n dimensions: n means, then n log standard deviations."""
        return [2 * self.size]

    def sample_dtype(self) -> tf.DType:
        """Return float32."""
        return tf.float32

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw standard normal noise [*shape, n] float32 for a batch of `shape`, from a NumPy generator."""
        return rng.standard_normal((*shape, self.size), np.float32)

    def tf_noise(self, shape: tf.Tensor) -> tf.Tensor:
        """Draw standard normal noise [*shape, n] float32 from TensorFlow's global generator."""
        return tf.random.normal(tf.concat([shape, [self.size]], axis=0))

    def sample(self, ops: Operators, flat: Array, noise: Array) -> Array:
        """Return mean + std * noise, [..., *space.shape] float32, not clipped to the Box."""
        return self.to_space_shape(flat[..., : self.size] + ops.exp(flat[..., self.size :]) * noise)

    def mode(self, ops: Operators, flat: Array) -> Array:
        """Return the mean; `flat` is [mean, log std] or the mean alone."""
        return self.to_space_shape(flat[..., : self.size])

    def logstd_indices(self) -> np.ndarray:
        """Return the second half of flatparam."""
        return np.arange(self.size, 2 * self.size, dtype=np.int32)
