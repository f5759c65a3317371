"""From the environment's raw observations to the network's input, in TensorFlow.

The counterpart of what a policy does in NumPy: `common.policies.observation_encoder.ObservationEncoder`, and `Policy.prepare` with
`common.running_mean_std.RunningMeanStd.normalise`.
"""

import copy
import re

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.mlp_policy import MlpPolicy
from common.errors import UserError


def flatten_space(space, name="observation"):
    """{name: space} of a space's tensors, in the order of `gymnasium.spaces.flatten`: a name is the path, such as `observation_arm_0`."""
    if not isinstance(space, (gym.spaces.Dict, gym.spaces.Tuple)):
        return {name: space}
    found = {}
    for key, part in space.spaces.items() if isinstance(space, gym.spaces.Dict) else enumerate(space.spaces):
        for leaf_name, leaf in flatten_space(part, re.sub(r"\W", "_", f"{name}_{key}", flags=re.ASCII)).items():
            while leaf_name in found:  # {"a b": ..., "a_b": ...}
                leaf_name += "_"
            found[leaf_name] = leaf
    return found


# ---- encoding


def one_hot(space, x):
    """Discrete [N] or MultiDiscrete [N, *shape] -> [N, sum of the n] float32."""
    sizes, starts = (space.nvec, space.start) if isinstance(space, gym.spaces.MultiDiscrete) else (space.n, space.start)
    columns = tf.unstack(tf.reshape(x, [-1, np.size(sizes)]), axis=1)
    factors = zip(columns, np.ravel(sizes), np.ravel(starts))
    return tf.concat(
        [tf.one_hot(tf.cast(column, tf.int64) - int(start), int(n)) for column, n, start in factors], axis=1
    )


def flattened(space, x):
    """A batch of one tensor's observations, [N, *shape] -> [N, n] float32."""
    if isinstance(space, (gym.spaces.Discrete, gym.spaces.MultiDiscrete)):
        return one_hot(space, x)
    return tf.cast(tf.reshape(x, [tf.shape(x)[0], gym.spaces.flatdim(space)]), tf.float32)


def encoded(encoder, observation):
    """What `ObservationEncoder.batch` gives, of raw observations by the names of `flatten_space`: [N, *encoder.shape]."""
    if encoder.is_box:
        return tf.reshape(observation["observation"], [-1, *encoder.shape])
    return tf.concat(
        [flattened(leaf, observation[name]) for name, leaf in flatten_space(encoder.space).items()], axis=1
    )


# ---- preparing


class TensorNormalizer:
    """`RunningMeanStd` as a policy's `prepare` meets it while it is traced.

    Args:
        ob_rms: the running mean and deviation.
        single: there is no float64.
    """

    def __init__(self, ob_rms, single):
        self.mean, self.std, self.single = ob_rms.mean, ob_rms.std, single

    def normalise(self, x, clip):
        """As `RunningMeanStd.normalise`: (x - mean) / std, clipped to +-`clip`, in float64; float32.

        In float32 alone the mean is a sum of two: what is near it loses nothing by subtracting the first, and the second, the rounding of the
        first, is subtracted after the scaling, where no optimiser adds the two again.
        """
        if not self.single:
            return tf.cast(tf.clip_by_value((tf.cast(x, tf.float64) - self.mean) / self.std, -clip, clip), tf.float32)
        mean = self.mean.astype(np.float32)
        rest, scale = ((self.mean - mean) / self.std).astype(np.float32), (1 / self.std).astype(np.float32)
        return tf.clip_by_value((tf.cast(x, tf.float32) - mean) * scale - rest, -clip, clip)


def prepared(pi, x, single):
    """`pi.prepare` in TensorFlow, inside a traced function: `prepare_tensor` where the policy has one, else `prepare` itself, as far as it
    asks for nothing but its filter and arithmetic.

    Raises:
        UserError: if it asks for more.
    """
    if type(pi).prepare is MlpPolicy.prepare and not pi.normalise_ob:
        return tf.cast(x, tf.float32)
    ob_rms = pi.ob_rms
    pi.ob_rms = None if ob_rms is None else TensorNormalizer(ob_rms, single)
    try:
        return getattr(pi, "prepare_tensor", pi.prepare)(x)
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise UserError(
            f"{type(pi).__name__}.prepare works on NumPy arrays only ({type(error).__name__}); define prepare_tensor(ob) beside it, "
            "the same in TensorFlow"
        ) from error
    finally:
        pi.ob_rms = ob_rms


def some_observations(pi, rows=16):
    """Encoded observations, NumPy [rows, *encoder.shape], that float32 holds: near the filter's mean, or, without a filter, the space's samples."""
    if pi.ob_rms is None:
        space = copy.deepcopy(pi.ob_space)  # its generator is the user's
        space.seed(0)
        obs = np.stack([pi.encoder.encode(space.sample()) for _ in range(rows)])
    else:
        obs = pi.ob_rms.mean + 2 * pi.ob_rms.std * np.random.default_rng(0).standard_normal((rows, *pi.encoder.shape))
        if pi.encoder.is_box:
            obs = np.clip(obs, *(np.reshape(bound, pi.encoder.shape) for bound in (pi.ob_space.low, pi.ob_space.high)))
    return obs.astype(np.float32).astype(pi.encoder.dtype)


def check_preparation(pi, single):
    """Raises UserError unless some observations are prepared in TensorFlow as they are in NumPy."""
    obs = some_observations(pi)
    tensor = tf.constant(obs, tf.float32 if single and obs.dtype != np.uint8 else obs.dtype)
    found = tf.function(lambda x: prepared(pi, x, single), autograph=False).get_concrete_function(tensor)(tensor)
    if not np.allclose(found, pi.prepare(obs), rtol=1e-5, atol=1e-5):
        raise UserError(
            f"{type(pi).__name__} prepares observations in TensorFlow, for export, otherwise than in NumPy, for acting; "
            "let prepare_tensor(ob) do what prepare(ob) does"
        )
