"""Action distributions with Baselines' interface: `make_pdtype(space)` returns a `PdType`, `pdtype.pdfromflat(flat)` a
`Pd`.

A `PdType` knows the shapes of an action space and how to sample from it. A `Pd` holds a batch of parameters,
`flatparam` [..., p]. A sample is a deterministic function of parameters and of noise that is drawn in advance. It is
written once over a set of operators (`NumpyOperators`, `TensorFlowOperators`), so that acting in NumPy and the compiled
update share it.

Categorical and Bernoulli distributions come from tensorflow_probability. The Gaussian is implemented here, because
`tfd.Normal` standardises as x/s - m/s, which loses all precision at small s (at log std -20, two ulp from the mean:
-1,132.9; SciPy: -1,653.4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import tensorflow as tf

from common.errors import UserError
from common.formatting import describe_space
from common.runtime.tf_import import import_tfd

MAX_FACTORS = 10_000  # of a MultiDiscrete action
INT32_RANGE = range(-(2**31), 2**31)  # discrete actions are stored as int32
# Logit of an index that does not exist. Minus infinity times its probability of 0 would be NaN in entropy and KL.
FINITE_MINUS_INFINITY = -1e38

Array = Any  # np.ndarray or tf.Tensor: the same kind as the other arguments
Operation = Callable[..., Array]


# ---- operators


class NumpyOperators:
    """The operations that sampling needs, on NumPy arrays."""

    exp: ClassVar[Operation] = staticmethod(np.exp)
    argmax: ClassVar[Operation] = staticmethod(np.argmax)
    take: ClassVar[Operation] = staticmethod(np.take)
    where: ClassVar[Operation] = staticmethod(np.where)
    concatenate: ClassVar[Operation] = staticmethod(np.concatenate)

    @staticmethod
    def to_int(x: Array) -> Array:
        """Cast to int32."""
        return x.astype(np.int32)


class TensorFlowOperators:
    """The operations that sampling needs, on tensors."""

    exp: ClassVar[Operation] = staticmethod(tf.exp)
    argmax: ClassVar[Operation] = staticmethod(tf.argmax)
    take: ClassVar[Operation] = staticmethod(tf.gather)
    where: ClassVar[Operation] = staticmethod(tf.where)
    concatenate: ClassVar[Operation] = staticmethod(tf.concat)

    @staticmethod
    def to_int(x: Array) -> Array:
        """Cast to int32."""
        return tf.cast(x, tf.int32)


Operators = type[NumpyOperators] | type[TensorFlowOperators]


def _draw_gumbel(shape: tf.Tensor) -> tf.Tensor:
    """Draw standard Gumbel noise of this shape, float32."""
    return -tf.math.log(-tf.math.log(tf.random.uniform(shape, minval=np.finfo(np.float32).tiny)))


# ---- base classes


class Pd:
    """A batch of distributions.

    An action `x` is [..., *sample_shape]. Every result has the shape [...] of the batch and is in nats.

    Args:
        pdtype: the kind of distribution.
        flat: parameters, [..., p] float32.
    """

    def __init__(self, pdtype: PdType, flat: tf.Tensor) -> None:
        self.pdtype = pdtype
        self.flat = flat

    def __reduce__(self) -> tuple[Callable[[Array], Pd], tuple[tf.Tensor]]:
        """Copy and pickle by the parameters alone, because not every tensorflow_probability object can be pickled."""
        return self.pdtype.pdfromflat, (self.flat,)

    def flatparam(self) -> tf.Tensor:
        """Return the parameters, [..., p] float32."""
        return self.flat

    def mode(self) -> tf.Tensor:
        """Return the most likely action, [..., *sample_shape]."""
        return self.pdtype.mode(TensorFlowOperators, self.flat)

    def sample(self, noise: Array | None = None) -> tf.Tensor:
        """Sample an action.

        Args:
            noise: as `pdtype.noise` draws it; None draws new noise from TensorFlow's global generator.

        Returns:
            [..., *sample_shape].
        """
        if noise is None:
            noise = self.pdtype.tf_noise(tf.shape(self.flat)[:-1])
        return self.pdtype.sample(TensorFlowOperators, self.flat, noise)

    def neglogp(self, x: Array) -> tf.Tensor:
        """Return -log p(x), [...]."""
        return -self.logp(x)

    def logp(self, x: Array) -> tf.Tensor:
        """Return log p(x), [...]: a density for Gaussians, a probability for the other distributions."""
        raise NotImplementedError

    def kl(self, other: Any) -> tf.Tensor:
        """Return the exact KL(self || other), [...]; `other` is of the same class."""
        raise NotImplementedError

    def entropy(self) -> tf.Tensor:
        """Return the exact entropy, [...]; for Gaussians the differential entropy."""
        raise NotImplementedError


class PdType:
    """A kind of distribution over one action space.

    Args:
        space: the Gymnasium space of the actions.
    """

    pd_class: type[Pd] = Pd

    def __init__(self, space: gym.Space[Any]) -> None:
        self.space = space

    def pdfromflat(self, flat: Array) -> Pd:
        """Return the distributions with parameters `flat` [..., p]."""
        return self.pd_class(self, tf.convert_to_tensor(flat))

    def param_shape(self) -> list[int]:
        """Return [p], the shape of one distribution's parameters."""
        raise NotImplementedError

    def sample_shape(self) -> list[int]:
        """Return the shape of one action."""
        return list(self.space.shape or ())

    def sample_dtype(self) -> tf.DType:
        """Return the dtype in which actions are stored: float32 for Gaussians, int32 for the others."""
        return tf.int32

    def to_space_shape(self, rows: Array) -> Array:
        """Reshape rows of entries [..., n], NumPy or TensorFlow, to [..., *space.shape]."""
        shape = self.space.shape or ()
        if len(shape) == 1:
            return rows
        if tf.is_tensor(rows):
            return tf.reshape(rows, tf.concat([tf.shape(rows)[:-1], shape], axis=0))
        return rows.reshape((*rows.shape[:-1], *shape))

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw the noise that `sample` turns into actions, from a NumPy generator.

        Args:
            rng: the generator.
            shape: batch shape of the actions.

        Returns:
            [*shape, n] float32.
        """
        raise NotImplementedError

    def tf_noise(self, shape: tf.Tensor) -> tf.Tensor:
        """Draw the same noise from TensorFlow's global generator; every call of a compiled function draws new noise."""
        raise NotImplementedError

    def sample(self, ops: Operators, flat: Array, noise: Array) -> Array:
        """Return actions for parameters `flat` [..., p] and `noise`, all in NumPy or all in TensorFlow, as `ops` is."""
        raise NotImplementedError

    def mode(self, ops: Operators, flat: Array) -> Array:
        """Return the most likely actions for parameters `flat` [..., p], in NumPy or TensorFlow, as `ops` is."""
        raise NotImplementedError


# ---- Gaussian


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


# ---- categorical


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
        return _draw_gumbel(tf.concat([shape, [self.n]], axis=0))

    def sample(self, ops: Operators, flat: Array, noise: Array) -> Array:
        """Return start + argmax(logits + noise), [...] int32: with Gumbel noise, an exact sample (the Gumbel-max
        trick).
        """
        return self.mode(ops, flat + noise)  # the Gumbel-max trick

    def mode(self, ops: Operators, flat: Array) -> Array:
        """Return start + argmax(logits), [...] int32."""
        return ops.to_int(ops.argmax(flat, axis=-1)) + self.start


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
        self.sizes = space.nvec.ravel().astype(int)
        self.starts = space.start.ravel().astype(np.int32)
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
        return _draw_gumbel(tf.concat([shape, self.param_shape()], axis=0))

    def sample(self, ops: Operators, flat: Array, noise: Array) -> Array:
        """Return start + argmax(logits + noise) of each factor, [..., *space.shape] int32 (the Gumbel-max trick)."""
        return self.mode(ops, flat + noise)  # the Gumbel-max trick

    def mode(self, ops: Operators, flat: Array) -> Array:
        """Return start + argmax(logits) of each factor, [..., *space.shape] int32."""
        best = [ops.to_int(ops.argmax(block.gather(ops, flat, -np.inf), axis=-1)) for block in self.blocks]
        actions = best[0] if len(best) == 1 else ops.take(ops.concatenate(best, axis=-1), self.order, axis=-1)
        return self.to_space_shape(actions + self.starts)


# ---- Bernoulli


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
        return _draw_gumbel(shape) - _draw_gumbel(shape)  # the difference of two Gumbel variables is logistic

    def sample(self, ops: Operators, flat: Array, noise: Array) -> Array:
        """Return 1 where logit + noise > 0, else 0, [..., *space.shape] int32."""
        return self.mode(ops, flat + noise)  # P(l + logistic > 0) = sigmoid(l)

    def mode(self, ops: Operators, flat: Array) -> Array:
        """Return 1 where the logit is above 0, else 0, [..., *space.shape] int32."""
        return self.to_space_shape(ops.to_int(flat > 0))


# ---- choice by action space


def make_pdtype(space: gym.Space[Any]) -> PdType:
    """Return the kind of distribution for an action space: Box, Discrete, MultiDiscrete or MultiBinary.

    Raises:
        UserError: for any other space, an empty one, a Box of integers, more than `MAX_FACTORS` factors, or actions
            beyond int32.
    """
    text = describe_space(space)
    if isinstance(space, (gym.spaces.Box, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)) and 0 in space.shape:
        raise UserError(f"action space {text} has no entries; an action needs at least one number")
    if isinstance(space, gym.spaces.Box):
        if not np.issubdtype(space.dtype, np.floating):
            raise UserError(
                f"action space {text} is a Box of {space.dtype}, but a Gaussian needs floats; use MultiDiscrete, or a "
                "Box of float32"
            )
        return DiagGaussianPdType(space)
    if isinstance(space, gym.spaces.Discrete):
        _check_choices(text, [int(space.n)], [int(space.start)])
        return CategoricalPdType(space)
    if isinstance(space, gym.spaces.MultiDiscrete):
        _check_choices(text, np.ravel(space.nvec).tolist(), np.ravel(space.start).tolist())
        return MultiCategoricalPdType(space)
    if isinstance(space, gym.spaces.MultiBinary):
        return BernoulliPdType(space)
    raise UserError(
        f"action space {text} is not supported; use Box, Discrete, MultiDiscrete or MultiBinary "
        "(wrap the environment to flatten a Dict or Tuple of them)"
    )


def _check_choices(text: str, sizes: Sequence[int], starts: Sequence[int]) -> None:
    """Raise UserError for too many factors, or for actions beyond int32; `text` describes the space."""
    if len(sizes) > MAX_FACTORS:
        raise UserError(f"action space {text} has {len(sizes):,} parts; at most {MAX_FACTORS:,} are supported")
    if not all(start in INT32_RANGE and start + n - 1 in INT32_RANGE for n, start in zip(sizes, starts)):
        raise UserError(f"action space {text} has actions beyond 32 bits; let them start at 0")
