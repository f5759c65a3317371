"""Multiplies the Fisher matrix of a policy with vectors, without forming it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from common.distributions import PdType
from common.mpi_adam import get_flat


def fisher_product(
    pdtype: PdType,
    flatparam: Callable[[], tf.Tensor],
    variables: Sequence[tf.Variable],
    weights: tf.Tensor,
    v: tf.Tensor,
) -> tf.Tensor:
    """The Fisher matrix times v: J^T H J v, with the Jacobian J of flatparam and the Hessian H of the KL in flatparam.

    This is the Hessian of the mean KL, because the gradient of the KL between equal policies is 0: Schulman et al.
    2015, appendix C.1.

    Args:
        pdtype: the kind of distribution.
        flatparam: function () -> the distribution parameters [..., p], computed from the variables.
        variables: P numbers in all; flatparam depends on each of them.
        weights: [...], of the mean over samples.
        v: [P].

    Returns:
        [P].
    """
    v_by_variable = [
        tf.reshape(values, x.shape)
        for values, x in zip(tf.split(v, [x.shape.num_elements() for x in variables]), variables)
    ]
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as network:
        network.watch(variables)
        flat = flatparam()
    with tf.GradientTape(watch_accessed_variables=False) as tape:  # J v: the gradient of v^T J^T u by u
        u = tf.zeros_like(flat)
        tape.watch(u)
        grads = network.gradient(flat, variables, output_gradients=u)
        linear = tf.add_n([tf.reduce_sum(g * values) for g, values in zip(grads, v_by_variable)])
    change = _kl_hessian_product(pdtype, tf.stop_gradient(flat), tape.gradient(linear, u))
    return get_flat(network.gradient(flat, variables, output_gradients=weights[..., None] * change))


def _kl_hessian_product(pdtype: PdType, flat: tf.Tensor, change: tf.Tensor) -> tf.Tensor:
    """The Hessian of KL(flat || x) with respect to x at x = flat, times `change`; all [..., p]."""
    pd, x = pdtype.pdfromflat(flat), tf.identity(flat)
    with tf.GradientTape(watch_accessed_variables=False) as outer:
        outer.watch(x)
        with tf.GradientTape(watch_accessed_variables=False) as inner:
            inner.watch(x)
            kl = pd.kl(pdtype.pdfromflat(x))
        directional = tf.reduce_sum(inner.gradient(kl, x) * change)
    return outer.gradient(directional, x)
