"""Action distributions behind Baselines' interface: `make_pdtype(space)` gives a `PdType`, `pdtype.pdfromflat(flat)` a `Pd`.

A `PdType` knows shapes and how to sample; a `Pd` holds a batch of parameters, `flatparam` [..., p]. Sampling is written over
`common.policies.networks`, so that NumPy acting and TensorFlow share it: noise drawn in advance and a deterministic function of it.
Categoricals and Bernoullis come from tensorflow_probability. The Gaussian is its own: `tfd.Normal` standardises as x/s - m/s and
loses everything at small s (at log std -20, two ulp from the mean, -1,132.9 for SciPy's -1,653.4).
"""

import math

import gymnasium as gym
import numpy as np
import tensorflow as tf

from common.errors import UserError
from common.factors import group_logits
from common.formatting import describe_space
from common.policies.networks import TensorFlowOperators
from common.runtime.tf_import import import_tfd

MAX_FACTORS = 10_000  # of a MultiDiscrete
ACTIONS = range(-(2**31), 2**31)  # as they are stored


def _gumbel(shape):
    return -tf.math.log(-tf.math.log(tf.random.uniform(shape, minval=np.finfo(np.float32).tiny)))


class Pd:
    """A batch of distributions. `x` is [..., *sample_shape]; every result has the batch's shape [...], in nats."""

    def __init__(self, pdtype, flat):
        self.pdtype, self.flat = pdtype, flat

    def __reduce__(self):
        """A copy, also one that is pickled, is made of the parameters anew: tensorflow_probability's objects cannot all be."""
        return self.pdtype.pdfromflat, (self.flat,)

    def flatparam(self):
        """Parameters, [..., p] float32."""
        return self.flat

    def mode(self):
        """The most likely action, [..., *sample_shape]."""
        return self.pdtype.mode(TensorFlowOperators, self.flat)

    def sample(self, noise=None):
        """An action, [..., *sample_shape]; `noise` as `pdtype.noise` draws it, drawn afresh if None."""
        if noise is None:
            noise = self.pdtype.tf_noise(tf.shape(self.flat)[:-1])
        return self.pdtype.sample(TensorFlowOperators, self.flat, noise)

    def neglogp(self, x):
        """-log p(x)."""
        return -self.logp(x)

    def logp(self, x):
        """log p(x): a density for Gaussians, a probability for the others."""
        raise NotImplementedError

    def kl(self, other):
        """KL(self || other), exact."""
        raise NotImplementedError

    def entropy(self):
        """Entropy, exact; differential for Gaussians."""
        raise NotImplementedError


class PdType:
    """A kind of distribution over one action space.

    Attributes:
        space: the Gymnasium space of the actions.
    """

    pd_class = Pd

    def __init__(self, space):
        self.space = space

    def pdclass(self):
        """The class of `pdfromflat`'s result."""
        return self.pd_class

    def pdfromflat(self, flat):
        """The distributions with parameters `flat` [..., p]."""
        return self.pd_class(self, tf.convert_to_tensor(flat))

    def param_shape(self):
        """[p], the shape of one distribution's parameters."""
        raise NotImplementedError

    def sample_shape(self):
        """Shape of one action."""
        return list(self.space.shape)

    def sample_dtype(self):
        """dtype of an action as it is stored: float32 for Gaussians, int32 for the others."""
        return tf.int32

    def shaped(self, rows):
        """Rows of entries [..., n], NumPy or TensorFlow, in the shape of the space: [..., *space.shape]."""
        if len(self.space.shape) == 1:
            return rows
        if tf.is_tensor(rows):
            return tf.reshape(rows, tf.concat([tf.shape(rows)[:-1], self.space.shape], axis=0))
        return rows.reshape((*rows.shape[:-1], *self.space.shape))

    def noise(self, rng, shape):
        """Noise for actions of batch shape `shape`, float32, from a NumPy generator: what `sample` turns into actions."""
        raise NotImplementedError

    def tf_noise(self, shape):
        """The same from TensorFlow's global generator, as a tensor; drawn anew at every call of a compiled function."""
        raise NotImplementedError

    def sample(self, ops, flat, noise):
        """Actions for parameters `flat` [..., p] and `noise`: NumPy or TensorFlow, as `ops` is."""
        raise NotImplementedError

    def mode(self, ops, flat):
        """Most likely actions for parameters `flat` [..., p]: NumPy or TensorFlow, as `ops` is."""
        raise NotImplementedError


class DiagGaussianPd(Pd):
    """mean and log std side by side in `flat`; the last axis of the parameters is [mean, logstd]."""

    def __init__(self, pdtype, flat):
        super().__init__(pdtype, flat)
        self.mean, self.logstd = tf.split(self.flat, 2, axis=-1)

    def logp(self, x):
        x = tf.reshape(tf.cast(x, self.flat.dtype), tf.shape(self.mean))
        z = (x - self.mean) * tf.exp(-self.logstd)
        return -0.5 * tf.reduce_sum(tf.square(z) + math.log(2 * math.pi), axis=-1) - tf.reduce_sum(self.logstd, axis=-1)

    def kl(self, other):
        # expm1: for two almost equal deviations exp(2d) - 1 - 2d would be nothing but rounding
        d = self.logstd - other.logstd
        z = (self.mean - other.mean) * tf.exp(-other.logstd)
        return tf.reduce_sum(0.5 * (tf.math.expm1(2 * d) + tf.square(z)) - d, axis=-1)

    def entropy(self):
        return tf.reduce_sum(self.logstd + 0.5 * math.log(2 * math.pi * math.e), axis=-1)


class DiagGaussianPdType(PdType):
    """Box -> independent Gaussians. Samples are not clipped to the box: that is the environment's side of the door."""

    pd_class = DiagGaussianPd

    def __init__(self, space):
        super().__init__(space)
        self.size = int(np.prod(space.shape))

    def param_shape(self):
        return [2 * self.size]

    def sample_dtype(self):
        return tf.float32

    def noise(self, rng, shape):
        return rng.standard_normal((*shape, self.size), np.float32)

    def tf_noise(self, shape):
        return tf.random.normal(tf.concat([shape, [self.size]], axis=0))

    def sample(self, ops, flat, noise):
        return self.shaped(flat[..., : self.size] + ops.exp(flat[..., self.size :]) * noise)

    def mode(self, ops, flat):
        """Of [mean, logstd], or of the mean alone."""
        return self.shaped(flat[..., : self.size])


class CategoricalPd(Pd):
    """Logits [..., n]; actions are start .. start + n - 1."""

    def __init__(self, pdtype, flat):
        super().__init__(pdtype, flat)
        self.distribution = import_tfd().Categorical(logits=self.flat)

    def logp(self, x):
        return self.distribution.log_prob(tf.cast(x, tf.int32) - self.pdtype.start)

    def kl(self, other):
        return self.distribution.kl_divergence(other.distribution)

    def entropy(self):
        return self.distribution.entropy()


class CategoricalPdType(PdType):
    """Discrete -> categorical."""

    pd_class = CategoricalPd

    def __init__(self, space):
        super().__init__(space)
        self.n, self.start = int(space.n), int(space.start)

    def param_shape(self):
        return [self.n]

    def noise(self, rng, shape):
        return rng.gumbel(size=(*shape, self.n)).astype(np.float32)

    def tf_noise(self, shape):
        return _gumbel(tf.concat([shape, [self.n]], axis=0))

    def sample(self, ops, flat, noise):
        return self.mode(ops, flat + noise)  # the Gumbel-max trick

    def mode(self, ops, flat):
        return ops.to_int(ops.argmax(flat, axis=-1)) + self.start


class MultiCategoricalPd(Pd):
    """The logits of all factors side by side; actions [..., *nvec.shape]."""

    def __init__(self, pdtype, flat):
        super().__init__(pdtype, flat)
        # times its probability of 0 minus infinity would be NaN
        self.distributions = [
            import_tfd().Categorical(logits=block.logits(TensorFlowOperators, self.flat, -1e38))
            for block in pdtype.blocks
        ]

    def logp(self, x):
        shape = tf.concat([tf.shape(self.flat)[:-1], [len(self.pdtype.sizes)]], axis=0)
        x = tf.reshape(tf.cast(x, tf.int32), shape) - self.pdtype.starts
        return self._sum(
            one.log_prob(tf.gather(x, block.numbers, axis=-1))
            for one, block in zip(self.distributions, self.pdtype.blocks)
        )

    def kl(self, other):
        return self._sum(a.kl_divergence(b) for a, b in zip(self.distributions, other.distributions))

    def entropy(self):
        return self._sum(one.entropy() for one in self.distributions)

    @staticmethod
    def _sum(blocks):
        return tf.add_n([tf.reduce_sum(x, axis=-1) for x in blocks])


class MultiCategoricalPdType(PdType):
    """MultiDiscrete of any rank -> product of categoricals."""

    pd_class = MultiCategoricalPd

    def __init__(self, space):
        super().__init__(space)
        self.sizes, self.starts = space.nvec.ravel().astype(int), space.start.ravel().astype(np.int32)
        self.ends = np.cumsum(self.sizes)
        self.blocks = group_logits(self.ends, self.sizes)
        self.order = np.argsort(np.concatenate([block.numbers for block in self.blocks])).astype(
            np.int32
        )  # from block after block to the space's own

    def param_shape(self):
        return [int(self.ends[-1])]

    def noise(self, rng, shape):
        return rng.gumbel(size=(*shape, *self.param_shape())).astype(np.float32)

    def tf_noise(self, shape):
        return _gumbel(tf.concat([shape, self.param_shape()], axis=0))

    def sample(self, ops, flat, noise):
        return self.mode(ops, flat + noise)

    def mode(self, ops, flat):
        best = [ops.to_int(ops.argmax(block.logits(ops, flat, -np.inf), axis=-1)) for block in self.blocks]
        actions = best[0] if len(best) == 1 else ops.take(ops.concatenate(best, axis=-1), self.order, axis=-1)
        return self.shaped(actions + self.starts)


class BernoulliPd(Pd):
    """Logits of independent bits, [..., n]; actions [..., *space.shape] of 0 and 1."""

    def __init__(self, pdtype, flat):
        super().__init__(pdtype, flat)
        self.distribution = import_tfd().Bernoulli(logits=self.flat)

    def logp(self, x):
        x = tf.reshape(tf.cast(x, tf.float32), tf.shape(self.flat))
        # log p(1) = -softplus(-l), log p(0) = -softplus(l): exact in both tails
        return -tf.reduce_sum(tf.nn.softplus((1 - 2 * x) * self.flat), axis=-1)

    def kl(self, other):
        return tf.reduce_sum(self.distribution.kl_divergence(other.distribution), axis=-1)

    def entropy(self):
        return tf.reduce_sum(self.distribution.entropy(), axis=-1)


class BernoulliPdType(PdType):
    """MultiBinary of any rank -> independent Bernoullis."""

    pd_class = BernoulliPd

    def __init__(self, space):
        super().__init__(space)
        self.size = int(np.prod(space.shape))

    def param_shape(self):
        return [self.size]

    def noise(self, rng, shape):
        return rng.logistic(size=(*shape, self.size)).astype(np.float32)

    def tf_noise(self, shape):
        shape = tf.concat([shape, [self.size]], axis=0)
        return _gumbel(shape) - _gumbel(shape)  # the difference of two Gumbels is logistic

    def sample(self, ops, flat, noise):
        return self.mode(ops, flat + noise)  # P(l + logistic > 0) = sigmoid(l)

    def mode(self, ops, flat):
        return self.shaped(ops.to_int(flat > 0))


def make_pdtype(space):
    """The distribution for an action space: Box, Discrete, MultiDiscrete or MultiBinary.

    Raises:
        UserError: for any other space, an empty one, or a Box of integers.
    """
    shown = describe_space(space)
    if isinstance(space, (gym.spaces.Box, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)) and 0 in space.shape:
        raise UserError(f"action space {shown} has no entries; an action needs at least one number")
    if isinstance(space, gym.spaces.Box):
        if not np.issubdtype(space.dtype, np.floating):
            raise UserError(
                f"action space {shown} is a Box of {space.dtype}; a Gaussian needs floats: use MultiDiscrete, or a Box of float32"
            )
        return DiagGaussianPdType(space)
    if isinstance(space, (gym.spaces.Discrete, gym.spaces.MultiDiscrete)):
        counts, starts = (
            np.ravel(x).tolist()
            for x in (space.nvec if isinstance(space, gym.spaces.MultiDiscrete) else space.n, space.start)
        )
        if len(counts) > MAX_FACTORS:
            raise UserError(f"action space {shown} has {len(counts):,} parts; give at most {MAX_FACTORS:,}")
        if not all(start in ACTIONS and start + n - 1 in ACTIONS for n, start in zip(counts, starts)):
            raise UserError(f"action space {shown} has actions beyond 32 bits; let them start at 0")
        return CategoricalPdType(space) if isinstance(space, gym.spaces.Discrete) else MultiCategoricalPdType(space)
    if isinstance(space, gym.spaces.MultiBinary):
        return BernoulliPdType(space)
    raise UserError(
        f"action space {shown} is not supported; use Box, Discrete, MultiDiscrete or MultiBinary "
        "(wrap the environment to flatten a Dict or Tuple of them)"
    )
