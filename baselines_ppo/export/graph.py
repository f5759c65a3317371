"""The contents of an exported model: a policy as functions from raw observations to actions, in TensorFlow alone.

The network and the choice of an action are the policy's. `baselines_ppo.export.observations` replaces the encoding and
normalisation of observations, which a policy does in NumPy.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.export.observations import (
    check_preprocessing,
    encode_tensors,
    flatten_space,
    preprocess_tensor,
)
from common.distributions import ProductPdType, TensorFlowOperators
from common.envs.mask_layout import ACTION_MASK
from common.errors import UserError
from common.formatting import describe_space
from common.policies.base import Policy
from common.space_tree import Space, is_continuous

STATE, EPISODE_START = "state", "episode_start"  # inputs of a policy with a memory; the next state is an output
NOISE = "noise"  # an input of `sample`


def observation_specs(pi: Policy, batch: int | None = None, float32_only: bool = False) -> dict[str, tf.TensorSpec]:
    """Return {name: TensorSpec} of the inputs: dtypes and shapes of the space, with a batch axis.

    A policy with action masks also has the input `action_mask`, and one with a memory `state` and `episode_start`.

    Args:
        pi: the policy.
        batch: number of observations per call; None: any.
        float32_only: one float32 or uint8 tensor as the observation.

    Raises:
        UserError: with `float32_only`, if the space is not a Box of floats or uint8.
    """
    space = pi.network_space
    others = {ACTION_MASK: tf.TensorSpec([batch, pi.pdtype.num_choices()], tf.bool)} if pi.masked else {}
    if pi.recurrent:
        others[STATE] = tf.TensorSpec([batch, pi.state_size], tf.float32)
        others[EPISODE_START] = tf.TensorSpec([batch], tf.bool)
    if not float32_only:
        leaves = flatten_space(space).items()
        return {name: tf.TensorSpec([batch, *(leaf.shape or ())], leaf.dtype) for name, leaf in leaves} | others
    is_box = isinstance(space, gym.spaces.Box)
    if not is_box or not (np.issubdtype(space.dtype, np.floating) or space.dtype == np.uint8):
        raise UserError(
            f"observation space {describe_space(space)} is not supported by LiteRT export, which takes one tensor, a "
            "Box of floats or uint8; export a SavedModel"
        )
    dtype = tf.uint8 if space.dtype == np.uint8 else tf.float32
    return {"observation": tf.TensorSpec([batch, *(space.shape or ())], dtype)} | others


def noise_spec(pi: Policy, batch: int | None = None) -> tf.TensorSpec:
    """Return the TensorSpec of the noise that `sample` takes, as `pi.pdtype.noise` draws it."""
    return tf.TensorSpec([batch, *pi.pdtype.noise(np.random.default_rng(0), (1,)).shape[1:]], tf.float32)


def signature_specs(
    pi: Policy, batch: int | None = None, float32_only: bool = False
) -> dict[str, dict[str, tf.TensorSpec]]:
    """Return {signature: {name: TensorSpec} of its inputs}, with the arguments of `observation_specs`."""
    specs = observation_specs(pi, batch, float32_only)
    return {"act": specs, "sample": specs | {NOISE: noise_spec(pi, batch)}}


def action_outputs(pi: Policy, flat: tf.Tensor, noise: tf.Tensor | None, float32_only: bool) -> dict[str, tf.Tensor]:
    """Return actions by the names of the outputs.

    Args:
        pi: the policy.
        flat: [N, p] parameters of the distributions.
        noise: as `pi.pdtype.noise` draws it; None for the most likely actions.
        float32_only: compute in float32.

    Returns:
        {"action": as `pi.act` returns it, in the space's dtype}; for a Box of floats also {"env_action": clipped to its
        bounds}. Each part of a Dict or Tuple is a separate output, named by its path, such as `action_arm_0` and
        `env_action_arm_0`.
    """
    pdtype, space = pi.pdtype, pi.ac_space
    if not isinstance(pdtype, ProductPdType):
        if noise is None:
            ac = pdtype.mode(TensorFlowOperators, flat)
        else:
            ac = pdtype.sample(TensorFlowOperators, flat, noise)
        return _leaf_outputs(space, ac, float32_only, "action", "env_action")
    outputs: dict[str, tf.Tensor] = {}
    names, env_names = flatten_space(space, "action"), flatten_space(space, "env_action")
    actions = pdtype.leaf_actions(TensorFlowOperators, flat, noise)
    for (name, leaf), env_name, ac in zip(names.items(), env_names, actions):
        outputs |= _leaf_outputs(leaf, tf.reshape(ac, [-1, *(leaf.shape or ())]), float32_only, name, env_name)
    return outputs


def _leaf_outputs(space: Space, ac: tf.Tensor, float32_only: bool, name: str, env_name: str) -> dict[str, tf.Tensor]:
    """Return the outputs of `action_outputs` of a space without parts, under these two names."""
    if not is_continuous(space):
        return {name: tf.cast(ac, space.dtype)}
    dtype: Any = np.float32 if float32_only else space.dtype
    low, high = space.low.astype(dtype), space.high.astype(dtype)
    # a bound such as 0.1 that the cast rounded outwards is moved inwards
    low = np.where(low < space.low, np.nextafter(low, np.inf, dtype=dtype), low)
    high = np.where(high > space.high, np.nextafter(high, -np.inf, dtype=dtype), high)
    return {name: ac, env_name: tf.clip_by_value(tf.cast(ac, dtype), low, high)}


def policy_functions(
    pi: Policy, batch: int | None = None, float32_only: bool = False
) -> tuple[tf.Module, dict[str, Any]]:
    """Trace a policy as functions of raw observations, with all products in float32.

    Args:
        pi: the policy.
        batch: number of observations per call; None: any.
        float32_only: compute in float32 alone.

    Returns:
        (module, functions): a tf.Module that holds the policy's variables, and {"act": ..., "sample": ...}, concrete
        functions over them.

    Raises:
        UserError: if the policy's `prepare` does not work in TensorFlow, or its observations do not suit
            `float32_only`.
    """
    module = tf.Module()
    pi = pi.in_float32()  # formats and processors elsewhere may not have bfloat16
    specs = signature_specs(pi, batch, float32_only)
    check_preprocessing(pi, float32_only)
    module.weights = list(pi.get_variables())  # tf.Module finds variables in plain lists only

    def evaluate(inputs: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        x = preprocess_tensor(pi, encode_tensors(pi.network_encoder, inputs), float32_only)
        following: dict[str, tf.Tensor] = {}
        if pi.recurrent:  # a sequence of one step
            outputs = pi.forward_sequence(x[:, None], inputs[EPISODE_START][:, None], inputs[STATE])
            flat, vpred, following[STATE] = (output[:, 0] for output in outputs)
        else:
            flat, vpred = pi.forward(x)
        if pi.masked:
            flat = pi.pdtype.mask_flat(TensorFlowOperators, flat, inputs[ACTION_MASK])
        return flat, vpred, following

    def act(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        flat, vpred, following = evaluate(inputs)
        return action_outputs(pi, flat, None, float32_only) | {"value": vpred, "flatparam": flat} | following

    def sample(noise: tf.Tensor, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        flat, _, following = evaluate(inputs)
        return action_outputs(pi, flat, noise, float32_only) | following

    act_function = tf.function(act, autograph=False)
    sample_function = tf.function(sample, autograph=False)
    return module, {
        "act": act_function.get_concrete_function(**specs["act"]),
        "sample": sample_function.get_concrete_function(**specs["sample"]),
    }
