"""The base classes: `PdType`, a kind of distribution, and `Pd`, a batch of distributions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from common.distributions.array_ops import Array, Entries, Joined, Operators, TensorFlowOperators


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
        """Return the dtype in which actions are stored.

        float32 for Gaussians, float64 for products of several kinds, int32 for the others.
        """
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

    # ---- masks

    def num_choices(self) -> int:
        """Return the length of a mask: how many choices can be valid or invalid; 0 for Gaussians."""
        return 0

    def mask_flat(self, ops: Operators, flat: Array, mask: Array) -> Array:
        """Return parameters under which invalid choices have the probability 0.

        An invalid choice gets a logit of `FINITE_MINUS_INFINITY`, so its gradient is 0, and KL, entropy, mode and
        samples count valid choices alone. A part without any valid choice keeps finite results.

        Args:
            ops: `NumpyOperators` or `TensorFlowOperators`, as the other arguments are.
            flat: parameters, [..., p].
            mask: [..., num_choices()] of bools or of 0 and 1; True where a choice is valid.

        Returns:
            [..., p].
        """
        return flat

    # ---- log standard deviations in separate variables

    def logstd_indices(self) -> np.ndarray:
        """Return which entries of flatparam are log standard deviations, [m] int32, in order; [0] if there are none."""
        return np.zeros(0, np.int32)

    def join_logstd(self, ops: Operators, outputs: Array, logstd: Array) -> Array:
        """Return flatparam of a network's outputs and of log standard deviations, which are a separate variable.

        Args:
            ops: `NumpyOperators` or `TensorFlowOperators`, as the other arguments are.
            outputs: [..., p - m], the entries of flatparam that `logstd_indices` does not name, in order.
            logstd: [m], those that it names.

        Returns:
            [..., p].
        """
        return self._logstd_last.join(ops, [outputs, ops.repeat_rows(logstd, outputs)])

    @functools.cached_property
    def _logstd_last(self) -> Joined:
        """Joins the other entries of flatparam with the log standard deviations."""
        logstd = self.logstd_indices()
        others = np.setdiff1d(np.arange(self.param_shape()[0]), logstd)
        return Joined([Entries(others), Entries(logstd)])
