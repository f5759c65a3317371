"""From the environment's raw observations to the network's input, in TensorFlow.

This mirrors what a policy does in NumPy: `common.policies.observation_encoder.ObservationEncoder`, then
`Policy.prepare` with `common.running_mean_std.RunningMeanStd.normalise`.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.mlp_policy import MlpPolicy
from baselines_ppo.networks.mixed_policy import MixedPolicy
from common.errors import UserError
from common.policies.base import Policy
from common.policies.inputs.parts import CHOICES, NUMBERS, PartsEncoder
from common.policies.inputs.records import split_entries, unpack
from common.policies.observation_encoder import ObservationEncoder
from common.running_mean_std import RunningMeanStd
from common.space_tree import leaf_spaces, subspaces

Space = gym.Space[Any]
Encoded = Any  # a tensor, or {field: tensor} of records
CHECKED_OBSERVATIONS = 16


def flatten_space(space: Space, name: str = "observation") -> dict[str, Space]:
    """Return {name: leaf space} of a space's tensors, in the order of `gymnasium.spaces.flatten`.

    A name is the leaf's path, such as `observation_arm_0`.
    """
    if not isinstance(space, (gym.spaces.Dict, gym.spaces.Tuple)):
        return {name: space}
    leaves: dict[str, Space] = {}
    for key, part in subspaces(space).items():
        part_name = re.sub(r"\W", "_", f"{name}_{key}", flags=re.ASCII)
        for full_name, leaf in flatten_space(part, part_name).items():
            while full_name in leaves:  # {"a b": ..., "a_b": ...}
                full_name += "_"
            leaves[full_name] = leaf
    return leaves


# ---- encoding


def one_hot(space: gym.spaces.Discrete | gym.spaces.MultiDiscrete, x: tf.Tensor) -> tf.Tensor:
    """Encode Discrete [N] or MultiDiscrete [N, *shape] as one-hot vectors, [N, sum of the n] float32."""
    if isinstance(space, gym.spaces.MultiDiscrete):
        sizes, starts = np.ravel(space.nvec), np.ravel(space.start)
    else:
        sizes, starts = np.ravel(space.n), np.ravel(space.start)
    columns = tf.unstack(tf.reshape(x, [-1, len(sizes)]), axis=1)
    factors = zip(columns, sizes, starts)
    vectors = [tf.one_hot(tf.cast(column, tf.int64) - int(start), int(n)) for column, n, start in factors]
    return tf.concat(vectors, axis=1)


def flatten_leaf(space: Space, x: tf.Tensor) -> tf.Tensor:
    """Flatten a batch of one leaf's observations, [N, *shape] -> [N, n] float32."""
    if isinstance(space, (gym.spaces.Discrete, gym.spaces.MultiDiscrete)):
        return one_hot(space, x)
    return tf.cast(tf.reshape(x, [tf.shape(x)[0], gym.spaces.flatdim(space)]), tf.float32)


def encode_tensors(encoder: ObservationEncoder, observation: dict[str, tf.Tensor]) -> Encoded:
    """Encode raw observations as `ObservationEncoder.encode_batch` does.

    Args:
        encoder: the policy's.
        observation: {name: tensor}, by the names of `flatten_space`.

    Returns:
        [N, *encoder.shape]; of a `PartsEncoder`, whose observations are records, {field: [N, *shape of the field]}.
    """
    if isinstance(encoder, PartsEncoder):
        return encode_parts(encoder, observation)
    if encoder.is_box:
        return tf.reshape(observation["observation"], [-1, *encoder.shape])
    leaves = flatten_space(encoder.space).items()
    return tf.concat([flatten_leaf(leaf, observation[name]) for name, leaf in leaves], axis=1)


def encode_parts(encoder: PartsEncoder, observation: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Encode raw observations as `PartsEncoder.encode_batch` does; arguments and result as for `encode_tensors`."""
    by_path = {path: observation[name] for path, name in zip(leaf_spaces(encoder.space), flatten_space(encoder.space))}
    fields: dict[str, tf.Tensor] = {}
    if encoder.parts.numbers:
        # numbers are not cast to a type that they do not have: LiteRT's stay float32
        leaves = [tf.reshape(by_path[path], [-1, gym.spaces.flatdim(x)]) for path, x in encoder.parts.numbers.items()]
        dtype = leaves[0].dtype if len(leaves) == 1 else encoder.dtype[NUMBERS].base
        fields[NUMBERS] = tf.concat([tf.cast(x, dtype) for x in leaves], axis=1)
    if encoder.parts.choices:
        vectors = [flatten_leaf(leaf, by_path[path]) for path, leaf in encoder.parts.choices.items()]
        fields[CHOICES] = tf.concat(vectors, axis=1)
    return fields | {name: by_path[path] for path, name in encoder.image_names.items()}


# ---- preprocessing


class TensorNormalizer:
    """`RunningMeanStd` in TensorFlow, for tracing a policy's `prepare`.

    Args:
        ob_rms: the running mean and standard deviation.
        float32_only: compute in float32 alone.
    """

    def __init__(self, ob_rms: RunningMeanStd, float32_only: bool) -> None:
        self.mean = ob_rms.mean
        self.std = ob_rms.std
        self.float32_only = float32_only

    def normalise(self, x: tf.Tensor, clip: float) -> tf.Tensor:
        """Normalise as `RunningMeanStd.normalise` does: (x - mean) / std in float64, clipped to +-`clip`; returns
        float32.

        In float32 alone, the mean is a sum of two numbers. Subtracting the first is exact for observations near the
        mean. The second, the rounding error of the first, is subtracted after the scaling, where no optimiser can merge
        the two."""
        if not self.float32_only:
            return tf.cast(tf.clip_by_value((tf.cast(x, tf.float64) - self.mean) / self.std, -clip, clip), tf.float32)
        mean = self.mean.astype(np.float32)
        rest = ((self.mean - mean) / self.std).astype(np.float32)
        scale = (1 / self.std).astype(np.float32)
        return tf.clip_by_value((tf.cast(x, tf.float32) - mean) * scale - rest, -clip, clip)


def view_for_tracing(pi: Policy, float32_only: bool) -> Any:
    """Return an object with the policy's class and attributes, but with a `TensorNormalizer` as `ob_rms`.

    The policy is unchanged.
    """
    view = object.__new__(type(pi))
    view.__dict__.update(vars(pi))
    if pi.ob_rms is not None:
        view.__dict__["ob_rms"] = TensorNormalizer(pi.ob_rms, float32_only)
    return view


def preprocess_tensor(pi: Policy, x: Encoded, float32_only: bool) -> tf.Tensor:
    """Compute `pi.prepare` in TensorFlow, inside a traced function.

    It calls `prepare_tensor` if the policy defines it, else `prepare` with a tensor, which works if it uses only
    arithmetic and `ob_rms.normalise`.

    Raises:
        UserError: if `prepare` uses anything else.
    """
    if isinstance(pi, MlpPolicy) and type(pi).prepare is MlpPolicy.prepare and not pi.normalise_ob:
        return tf.cast(x, tf.float32)
    view = view_for_tracing(pi, float32_only)
    try:
        return getattr(view, "prepare_tensor", view.prepare)(x)
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise UserError(
            f"{type(pi).__name__}.prepare works on NumPy arrays only ({type(error).__name__}); also define "
            "prepare_tensor(ob), which computes the same in TensorFlow"
        ) from error


def sample_observations(pi: Policy, rows: int = CHECKED_OBSERVATIONS, seed: int = 0) -> np.ndarray:
    """Draw encoded observations that float32 represents exactly: near the filter's mean, or without a filter from the
    space.

    Args:
        pi: the policy.
        rows: number of observations.
        seed: of the draw.

    Returns:
        [rows, *network_encoder.shape].
    """
    encoder, rms = pi.network_encoder, pi.ob_rms
    is_record = encoder.dtype.names is not None
    if rms is None or is_record:
        space = copy.deepcopy(pi.network_space)  # seeding the caller's space would change its generator
        space.seed(seed)
        obs = np.stack([encoder.encode(space.sample()) for _ in range(rows)])
    if rms is not None:
        near = rms.mean + 2 * rms.std * np.random.default_rng(seed).standard_normal((rows, *rms.mean.shape))
        if isinstance(pi.network_space, gym.spaces.Box):
            low, high = (np.reshape(bound, rms.mean.shape) for bound in (pi.network_space.low, pi.network_space.high))
            near = np.clip(near, low, high)
        if not is_record:
            obs = near
        else:
            obs[NUMBERS] = near.astype(np.float32)
    return obs if is_record else obs.astype(np.float32).astype(encoder.dtype)


def check_preprocessing(pi: Policy, float32_only: bool) -> None:
    """Raise UserError unless some observations are preprocessed in TensorFlow as they are in NumPy."""
    obs = sample_observations(pi)
    arrays = {name: obs[name] for name in obs.dtype.names} if obs.dtype.names else obs
    tensors = tf.nest.map_structure(
        lambda x: tf.constant(x, tf.float32 if float32_only and x.dtype != np.uint8 else x.dtype), arrays
    )
    function = tf.function(lambda x: preprocess_tensor(pi, x, float32_only), autograph=False)
    both = [function(tensors), pi.prepare(obs)]
    if isinstance(pi, MixedPolicy):  # numbers are compared, not their bytes
        fields = [split(x, pi.record_dtype) for split, x in zip((split_entries, unpack), both)]
        both = [list(x.values()) for x in fields]
    if not all(np.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(*map(tf.nest.flatten, both), strict=True)):
        raise UserError(
            f"{type(pi).__name__} prepares observations differently in TensorFlow, for export, and in NumPy, for "
            "acting; let prepare_tensor(ob) compute what prepare(ob) does"
        )
