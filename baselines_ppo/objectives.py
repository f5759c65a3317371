"""The objectives, one pure function per equation: tensors [N] in, tensors [N] out. The caller weights and sums them.

A surrogate objective is a function (ratio, atarg, kl, c) of probability ratios, advantages and KL(pi_old || pi), all
[N], and the current `Coefficients`; it is maximised. A program adds one with `register_objective`. To add one to the
package, write a function and list it in `OBJECTIVES`, and list its name in `config.settings.SURROGATES`, which the
command line reads without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from baselines_ppo.config.settings import OBJECTIVE_NAMES, SURROGATES
from common.errors import UserError
from common.formatting import safe_repr


class Coefficients(NamedTuple):
    """Scalars that may change between iterations: epsilon of the clipped surrogate, coefficient of the KL penalty."""

    clip_param: tf.Tensor
    beta: tf.Tensor


Surrogate = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, Coefficients], tf.Tensor]


@tf.custom_gradient
def exp_with_bounded_gradient(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """exp(x) with a gradient that stays finite where exp(x) overflows.

    A clipped sample multiplies the gradient by 0. The result is then 0; with an infinite gradient it would be NaN.
    """
    y = tf.exp(x)
    return y, lambda upstream: upstream * tf.minimum(y, 1e38)


def probability_ratio(logp: tf.Tensor, oldlogp: tf.Tensor) -> tf.Tensor:
    """r(theta) = pi(a|s) / pi_old(a|s), [N], from log probabilities [N]. Schulman et al. 2017, section 3."""
    return exp_with_bounded_gradient(logp - oldlogp)


def unclipped_surrogate(ratio: tf.Tensor, atarg: tf.Tensor, kl: tf.Tensor, c: Coefficients | None) -> tf.Tensor:
    """L^CPI = r A. Schulman et al. 2017, eq. 6."""
    return ratio * atarg


def clipped_surrogate(ratio: tf.Tensor, atarg: tf.Tensor, kl: tf.Tensor, c: Coefficients) -> tf.Tensor:
    """L^CLIP = min(r A, clip(r, 1 - eps, 1 + eps) A). Schulman et al. 2017, eq. 7."""
    return tf.minimum(ratio * atarg, tf.clip_by_value(ratio, 1 - c.clip_param, 1 + c.clip_param) * atarg)


def kl_penalised_surrogate(ratio: tf.Tensor, atarg: tf.Tensor, kl: tf.Tensor, c: Coefficients) -> tf.Tensor:
    """L^KLPEN = r A - beta KL(pi_old || pi). Schulman et al. 2017, eq. 8."""
    return ratio * atarg - c.beta * kl


OBJECTIVES: dict[str, Surrogate] = {
    "clip": clipped_surrogate,
    "adaptive_kl": kl_penalised_surrogate,
    "fixed_kl": kl_penalised_surrogate,
    "unclipped": unclipped_surrogate,
}


def register_objective(name: str, function: Surrogate) -> None:
    """Add a surrogate objective, which `learn(objective=name)` then maximises.

    Registering a name again replaces its function. On several ranks, every rank must register it. The registration is
    part of this process: the command line and its sweeps do not know it.

    Args:
        name: an identifier that is not the name of an objective of this package.
        function: (ratio, atarg, kl, c) -> values to maximise, [N] float32, in TensorFlow operations. Here `ratio` is
            pi(a|s) / pi_old(a|s), `atarg` the advantages and `kl` KL(pi_old || pi), all [N]. The scalars
            `c.clip_param` and `c.beta` are those of the settings. `learn` refuses a result of another shape.

    Raises:
        UserError: for an invalid name, or a function that is not callable.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise UserError(f"invalid name={safe_repr(name)}: must be an identifier, such as 'my_objective'")
    if name in SURROGATES:
        raise UserError(f"invalid name={name!r}: is an objective of this package; choose another name")
    if not callable(function):
        raise UserError(f"invalid function={safe_repr(function)}: must be a function (ratio, atarg, kl, c) -> values")
    OBJECTIVES[name] = function
    if name not in OBJECTIVE_NAMES:
        OBJECTIVE_NAMES.append(name)


def check_surrogate(name: str, n: int) -> None:
    """Check that a registered objective returns one value for each sample: trace it once, without any computation.

    Args:
        name: of the objective.
        n: the number of samples.

    Raises:
        UserError: for another result. Broadcasting would hide it, and the loss would be wrong.
    """
    if name in SURROGATES:
        return
    vector, scalar = tf.TensorSpec([n], tf.float32), tf.TensorSpec([], tf.float32)
    found: list[tuple[Any, Any]] = []

    def call(ratio: tf.Tensor, atarg: tf.Tensor, kl: tf.Tensor, clip_param: tf.Tensor, beta: tf.Tensor) -> None:
        values = OBJECTIVES[name](ratio, atarg, kl, Coefficients(clip_param, beta))
        found.append((values, ratio.shape) if tf.is_tensor(values) else (safe_repr(values), ratio.shape))

    tf.function(call, autograph=False).get_concrete_function(vector, vector, vector, scalar, scalar)
    values, shape = found[-1]
    if isinstance(values, str):
        raise UserError(f"objective {name!r} returned {values}, not a tensor with the shape of ratio, {shape}")
    if not values.shape.is_compatible_with(shape):
        raise UserError(
            f"objective {name!r} returned values of shape {values.shape} for a ratio of shape {shape}; return one "
            "value for each sample: the mean over samples is taken afterwards"
        )


def adapt_kl_coefficient(beta: float, kl: float, low: float, high: float) -> float:
    """The next coefficient of the KL penalty: half if `kl` is below `low`, double if above `high`.

    Schulman et al. 2017, section 4, with low = target / 1.5 and high = 1.5 target. The coefficient is kept between
    2**-60 and 2**60, so that it can always return.
    """
    if kl < low:
        return max(beta / 2, 2.0**-60)
    return min(beta * 2, 2.0**60) if kl > high else beta


def is_clipped(ratio: tf.Tensor, clip_param: tf.Tensor) -> tf.Tensor:
    """1 where the ratio is outside [1 - eps, 1 + eps], else 0; [N]. The mean is the clip fraction."""
    return tf.cast(tf.abs(ratio - 1) > clip_param, tf.float32)


def policy_gradient(logp: tf.Tensor, atarg: tf.Tensor) -> tf.Tensor:
    """log pi(a|s) A, maximised; its gradient is the policy gradient. Williams 1992; Schulman et al. 2017, eq. 2."""
    return logp * atarg


def value_loss(vpred: tf.Tensor, ret: tf.Tensor) -> tf.Tensor:
    """L^VF = (V(s) - V_targ)^2, [N]. Schulman et al. 2017, eq. 9. There is no factor 1/2, as in PPO1."""
    return tf.square(vpred - ret)


def clipped_value_loss(vpred: tf.Tensor, oldvpred: tf.Tensor, ret: tf.Tensor, vf_clip: float) -> tf.Tensor:
    """The larger of the losses of V and of V clipped to within `vf_clip` of its old value, [N]; Baselines' ppo2."""
    clipped_vpred = oldvpred + tf.clip_by_value(vpred - oldvpred, -vf_clip, vf_clip)
    return tf.maximum(value_loss(vpred, ret), value_loss(clipped_vpred, ret))
