"""The objectives, one pure function per equation. Tensors [N] in, tensors [N] out; the caller weights and sums them.

A surrogate objective is a function (ratio, atarg, kl, c) of probability ratios, advantages and KL(pi_old || pi), all [N], and the
`Coefficients` as they stand; it is maximised. A new one is one more function here, and its name in `settings.SURROGATES`.
"""

from typing import NamedTuple

import tensorflow as tf

from baselines_ppo.config.settings import SURROGATES


class Coefficients(NamedTuple):
    """What may change from one iteration to the next: epsilon of the clipped surrogate, and the KL penalty's coefficient."""

    clip_param: tf.Tensor
    beta: tf.Tensor


@tf.custom_gradient
def exp_with_bounded_gradient(x):
    """exp(x), whose slope is finite where it overflows: times the 0 of a row that is clipped it is 0, where infinity would make it NaN."""
    y = tf.exp(x)
    return y, lambda upstream: upstream * tf.minimum(y, 1e38)


def probability_ratio(logp, oldlogp):
    """r(theta) = pi(a|s) / pi_old(a|s), [N], from log probabilities [N]. Schulman et al. 2017, section 3."""
    return exp_with_bounded_gradient(logp - oldlogp)


def unclipped_surrogate(ratio, atarg, kl, c):
    """L^CPI = r A. Schulman et al. 2017, eq. 6."""
    return ratio * atarg


def clipped_surrogate(ratio, atarg, kl, c):
    """L^CLIP = min(r A, clip(r, 1 - eps, 1 + eps) A). Schulman et al. 2017, eq. 7."""
    return tf.minimum(ratio * atarg, tf.clip_by_value(ratio, 1 - c.clip_param, 1 + c.clip_param) * atarg)


def kl_penalised_surrogate(ratio, atarg, kl, c):
    """L^KLPEN = r A - beta KL(pi_old || pi). Schulman et al. 2017, eq. 8."""
    return ratio * atarg - c.beta * kl


OBJECTIVES = {name: globals()[function] for name, function in SURROGATES.items()}


def adapt_kl_coefficient(beta, kl, low, high):
    """The KL penalty's next coefficient: half below `low`, double above `high`. Schulman et al. 2017, section 4, with low = target / 1.5
    and high = 1.5 target. Kept within 2**-60 and 2**60, so that it can always come back."""
    if kl < low:
        return max(beta / 2, 2.0**-60)
    return min(beta * 2, 2.0**60) if kl > high else beta


def clipped(ratio, clip_param):
    """1 where the ratio has left [1 - eps, 1 + eps], else 0; [N]. Its mean is the clip fraction."""
    return tf.cast(tf.abs(ratio - 1) > clip_param, tf.float32)


def policy_gradient(logp, atarg):
    """log pi(a|s) A, whose gradient is the policy gradient: Williams 1992, and Schulman et al. 2017, eq. 2; to be maximised."""
    return logp * atarg


def value_loss(vpred, ret):
    """L^VF = (V(s) - V_targ)^2, [N]. Schulman et al. 2017, eq. 9. No half: as in PPO1."""
    return tf.square(vpred - ret)


def clipped_value_loss(vpred, oldvpred, ret, vf_clip):
    """The larger of the losses of V and of V held within +- `vf_clip` of its old value, [N]; as OpenAI Baselines' ppo2 has it."""
    held = oldvpred + tf.clip_by_value(vpred - oldvpred, -vf_clip, vf_clip)
    return tf.maximum(value_loss(vpred, ret), value_loss(held, ret))
