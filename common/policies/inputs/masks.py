"""Action masks as a part of the observation: the policy's network does not see them, its distribution obeys them.

An environment with masks has the observation space

    Dict({"action_mask": MultiBinary(n), "observation": space})

where n is `PdType.num_choices` of the action space. `common.envs.action_masks` turns other environments into such.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from common.distributions import PdType
from common.envs.mask_layout import ACTION_MASK, OBSERVATION
from common.policies.inputs.records import record_of
from common.policies.observation_encoder import ObservationEncoder


def has_mask(ob_space: gym.Space[Any], pdtype: PdType) -> bool:
    """Whether observations of a space contain a mask of the actions of `pdtype`."""
    if not isinstance(ob_space, gym.spaces.Dict) or set(ob_space.spaces) != {ACTION_MASK, OBSERVATION}:
        return False
    mask_space = ob_space[ACTION_MASK]
    n = pdtype.num_choices()
    return n > 0 and isinstance(mask_space, gym.spaces.MultiBinary) and mask_space.shape == (n,)


def without_mask(ob_space: gym.Space[Any], pdtype: PdType) -> gym.Space[Any]:
    """Return the part of an observation space that the network sees: all of it if it has no mask."""
    if not has_mask(ob_space, pdtype):
        return ob_space
    assert isinstance(ob_space, gym.spaces.Dict)
    return ob_space[OBSERVATION]


class MaskedEncoder(ObservationEncoder):
    """Encoder of observations with a mask: records of the encoded observation and the mask.

    Args:
        space: the observation space, a Dict with a mask.
        inner: encoder of the part that the network sees.
    """

    def __init__(self, space: gym.Space[Any], inner: ObservationEncoder) -> None:
        assert isinstance(space, gym.spaces.Dict)
        self.space = space
        self.inner = inner
        self.is_box = self.is_identity = False
        self.shape = ()
        self.mask_shape = space[ACTION_MASK].shape
        fields = [(OBSERVATION, inner.dtype, inner.shape), (ACTION_MASK, np.uint8, self.mask_shape)]
        self.dtype = np.dtype(fields)

    def encode(self, ob: Any) -> np.ndarray:
        """Encode one observation as a record, [] of `dtype`.

        Raises:
            ValueError: as in `ObservationEncoder.encode`, and for a mask of another shape.
        """
        mask = np.asarray(ob[ACTION_MASK])
        if mask.shape != self.mask_shape:
            raise ValueError(f"an action mask of shape {mask.shape}, not {self.mask_shape}")
        record: np.ndarray = np.empty((), self.dtype)  # record_of takes twice as long
        record[OBSERVATION], record[ACTION_MASK] = self.inner.encode(ob[OBSERVATION]), mask != 0
        return record

    def encode_batch(self, obs: Any, batched_space: gym.Space[Any]) -> np.ndarray:
        """Encode a batch, [N] of `dtype`, as `ObservationEncoder.encode_batch` does."""
        assert isinstance(batched_space, gym.spaces.Dict)
        encoded = self.inner.encode_batch(obs[OBSERVATION], batched_space[OBSERVATION])
        return record_of(self.dtype, {OBSERVATION: encoded, ACTION_MASK: np.asarray(obs[ACTION_MASK]) != 0})
