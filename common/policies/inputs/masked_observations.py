"""Observations and masks as a caller of `act` and `predict` gives them, joined to what a policy with masks takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from common.envs.mask_layout import ACTION_MASK, OBSERVATION, MaskLayout, has_action_mask
from common.errors import UserError
from common.formatting import describe_space, safe_repr
from common.space_tree import Space, subspaces


def combine(ob_space: Space, ac_space: Space, ob: Any, *, action_masks: Any = None) -> Any:
    """Return the observation of a policy's `ob_space` for an observation and its mask.

    Args:
        ob_space: the policy's observation space.
        ac_space: its action space.
        ob: one observation, or a batch: of `ob_space`, or, for a policy with masks, the part `observation` of it alone.
        action_masks: the mask of an observation that contains none, flat or of Gymnasium's form (`MaskLayout`). For a
            batch, one mask for each observation: an array [N, n] or a list; for a Dict of actions also a dict of
            batches. None: `ob` contains it, or the policy has no masks.

    Returns:
        `ob`, if the policy has no masks; else a dict whose `action_mask` is [n] or [N, n] int8.

    Raises:
        UserError: for a mask to a policy without masks, no mask to a policy with masks, an invalid mask, or one that
            leaves no action.
    """
    if not has_action_mask(ob_space, ac_space):
        if action_masks is not None:
            raise UserError("the policy was trained without action masks; leave action_masks out")
        return ob
    assert isinstance(ob_space, gym.spaces.Dict)
    if isinstance(ob, Mapping) and set(ob) == {ACTION_MASK, OBSERVATION}:
        if action_masks is not None:
            raise UserError("the observation contains an action mask already; leave action_masks out")
        ob, action_masks = ob[OBSERVATION], ob[ACTION_MASK]
    if action_masks is None:
        raise UserError(
            "the policy was trained with action masks: give action_masks=..., the mask of the observation, or an "
            f"observation with the keys {ACTION_MASK!r} and {OBSERVATION!r}"
        )
    layout = MaskLayout(ac_space)
    size = batch_size(ob_space[OBSERVATION], ob)
    return {ACTION_MASK: _flat_masks(layout, action_masks, size), OBSERVATION: ob}


def batch_size(space: Space, ob: Any) -> int | None:
    """Return the number of observations of a batch; None for one observation, or for anything else."""
    leaf, leaf_space = ob, space
    try:
        while parts := subspaces(leaf_space):
            key = next(iter(parts))
            leaf, leaf_space = leaf[key], parts[key]
        shape = np.shape(leaf)
    except (IndexError, KeyError, TypeError, ValueError):
        return None  # the encoder reports it
    return int(shape[0]) if shape and shape[1:] == tuple(leaf_space.shape or ()) else None


def _flat_masks(layout: MaskLayout, masks: Any, size: int | None) -> np.ndarray:
    """Return the mask of one observation, [n] int8; for a batch of `size` observations their masks, [size, n].

    Raises:
        UserError: for another number of masks, an invalid mask, or one that leaves no action.
    """
    if size is None:
        return _flat_mask(layout, masks, "action_masks")
    rows = np.ones((size, layout.n), np.int8)
    if not isinstance(masks, Mapping) and (not hasattr(masks, "__len__") or len(masks) != size):
        found = f"of shape {np.shape(masks)}" if isinstance(masks, np.ndarray) else safe_repr(masks)
        raise UserError(
            f"invalid action_masks {found}: must be {size} masks, one for each observation of the batch; each one is "
            f"{layout.describe_shapes()}"
        )
    for k in range(size):
        try:
            mask = layout.row(masks, k)
        except (IndexError, KeyError, TypeError) as error:
            raise UserError(
                f"invalid action_masks {safe_repr(masks)}: must be {size} masks, one for each observation of the batch"
            ) from error
        rows[k] = _flat_mask(layout, mask, f"action_masks[{k}]")
    return rows


def _flat_mask(layout: MaskLayout, mask: Any, name: str) -> np.ndarray:
    try:
        flat = layout.flatten(mask)
    except ValueError as error:
        raise UserError(f"invalid {name}: {error}") from None
    if (factor := layout.blocked_factor(flat)) is not None:
        raise UserError(
            f"invalid {name}: a mask {layout.describe_blocked(factor)}; at least one action of "
            f"{describe_space(layout.space)} must be valid"
        )
    return flat.view(np.int8)
