"""What an exported file holds: a policy as functions from raw observations to actions, in TensorFlow alone.

The network and the choice of an action are the policy's own; what comes before is in `export_observations`.
"""

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.export.observations import check_preparation, encoded, flatten_space, prepared
from common.distributions import TensorFlowOperators
from common.errors import UserError
from common.formatting import describe_space


def observation_specs(pi, batch=None, single=False):
    """{name: TensorSpec} of what goes in: the space's dtypes and shapes behind a batch axis; with `single`, of float32 or uint8.

    Raises:
        UserError: with `single`, if the space is no Box of floats or uint8.
    """
    space = pi.ob_space
    if single:
        if not isinstance(space, gym.spaces.Box) or not (
            np.issubdtype(space.dtype, np.floating) or space.dtype == np.uint8
        ):
            raise UserError(
                f"observation space {describe_space(space)}: a LiteRT file takes one tensor, a Box of floats or uint8; export a SavedModel"
            )
        return {
            "observation": tf.TensorSpec([batch, *space.shape], tf.uint8 if space.dtype == np.uint8 else tf.float32)
        }
    return {name: tf.TensorSpec([batch, *leaf.shape], leaf.dtype) for name, leaf in flatten_space(space).items()}


def noise_spec(pi, batch=None):
    """TensorSpec of the noise that `sample` takes, as `pi.pdtype.noise` draws it."""
    return tf.TensorSpec([batch, *pi.pdtype.noise(np.random.default_rng(0), (1,)).shape[1:]], tf.float32)


def actions(space, ac, single):
    """Actions by the names of the outputs: `action` as `pi.act` returns it, in the space's dtype; a Box's `env_action`, clipped to its bounds."""
    if not isinstance(space, gym.spaces.Box):
        return {"action": tf.cast(ac, space.dtype)}
    dtype = np.float32 if single else space.dtype
    low, high = space.low.astype(dtype), space.high.astype(dtype)
    low = np.where(
        low < space.low, np.nextafter(low, np.inf, dtype=dtype), low
    )  # a bound such as 0.1, rounded outwards
    high = np.where(high > space.high, np.nextafter(high, -np.inf, dtype=dtype), high)
    return {"action": ac, "env_action": tf.clip_by_value(tf.cast(ac, dtype), low, high)}


def policy_functions(pi, batch=None, single=False):
    """A policy as functions of raw observations.

    Args:
        pi: the policy.
        batch: observations at a time; None: any number.
        single: compute in float32 alone.

    Returns:
        (module, functions): a tf.Module that holds the policy's variables, and {"act": ..., "sample": ...}, concrete functions over them.

    Raises:
        UserError: if the policy's `prepare` is not to be had in TensorFlow, or its observations do not suit `single`.
    """
    module, specs = tf.Module(), observation_specs(pi, batch, single)
    check_preparation(pi, single)
    module.weights = list(pi.get_variables())  # a tf.Module follows plain lists only

    def network(observation):
        return pi.forward(prepared(pi, encoded(pi.encoder, observation), single))

    @tf.function(autograph=False)
    def act(**observation):
        flat, vpred = network(observation)
        return actions(pi.ac_space, pi.pdtype.mode(TensorFlowOperators, flat), single) | {
            "value": vpred,
            "flatparam": flat,
        }

    @tf.function(autograph=False)
    def sample(noise, **observation):
        return actions(pi.ac_space, pi.pdtype.sample(TensorFlowOperators, network(observation)[0], noise), single)

    return module, {
        "act": act.get_concrete_function(**specs),
        "sample": sample.get_concrete_function(noise=noise_spec(pi, batch), **specs),
    }
