"""The objectives, one pure function per equation. Tensors [N] in, tensors [N] out; the caller weights and sums them."""
import tensorflow as tf


def probability_ratio(logp, oldlogp):
    """r(theta) = pi(a|s) / pi_old(a|s), [N], from log probabilities [N]. Schulman et al. 2017, section 3."""
    return tf.exp(logp - oldlogp)


def clipped_surrogate(ratio, atarg, clip_param):
    """L^CLIP = min(r A, clip(r, 1 - eps, 1 + eps) A), to be maximised. Schulman et al. 2017, eq. 7.

    Args:
        ratio, atarg: [N], probability ratio and advantage.
        clip_param: eps.
    """
    return tf.minimum(ratio * atarg, tf.clip_by_value(ratio, 1 - clip_param, 1 + clip_param) * atarg)


def clipped(ratio, clip_param):
    """1 where the ratio has left [1 - eps, 1 + eps], else 0; [N]. Its mean is the clip fraction."""
    return tf.cast(tf.abs(ratio - 1) > clip_param, tf.float32)


def value_loss(vpred, ret):
    """L^VF = (V(s) - V_targ)^2, [N]. Schulman et al. 2017, eq. 9. No half: as in PPO1."""
    return tf.square(vpred - ret)


def clipped_value_loss(vpred, oldvpred, ret, vf_clip):
    """The larger of the losses of V and of V held within +- `vf_clip` of its old value, [N]; as OpenAI Baselines' ppo2 has it."""
    held = oldvpred + tf.clip_by_value(vpred - oldvpred, -vf_clip, vf_clip)
    return tf.maximum(value_loss(vpred, ret), value_loss(held, ret))
