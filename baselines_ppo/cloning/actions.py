"""The actions of demonstrations: as segments store them, checked against action masks, and compared with the mode's."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.demonstrations.data import Demonstrations
from common.distributions import DiagGaussianPdType, PdType, ProductPdType
from common.envs.mask_layout import ACTION_MASK, MaskLayout
from common.errors import UserError
from common.formatting import safe_repr
from common.policies.base import Policy
from common.space_tree import Space, is_composite, is_continuous, subspaces
from common.vec_env.actions import ActionStructure


def stored_actions(pi: Policy, data: Demonstrations) -> np.ndarray:
    """Return the actions [N, *sample_shape] as segments store them."""
    actions = data.actions(pi.ac_space)
    if is_composite(pi.ac_space):
        actions = ActionStructure(pi.ac_space).stored(actions)
    return np.asarray(actions, pi.pdtype.sample_dtype().as_numpy_dtype)


def check_masks(pi: Policy, data: Demonstrations) -> None:
    """Raise UserError if the action mask of a step forbids the action that was taken there."""
    if not pi.masked:
        return
    layout, actions = MaskLayout(pi.ac_space), data.actions(pi.ac_space)
    masks = data.observations(pi.ob_space)[ACTION_MASK]
    entries = layout.starts + np.concatenate(_choices(pi.ac_space, actions), axis=1)
    is_allowed = np.take_along_axis(masks != 0, entries, axis=1).all(axis=1)
    if not is_allowed.all():
        step = int(np.argmin(is_allowed))
        raise UserError(
            f"{data.source}: the action mask forbids the action of step {step:,}, "
            f"{safe_repr(_row(actions, step))}; leave out that episode, or correct its masks"
        )


def _choices(space: Space, actions: Any) -> list[np.ndarray]:
    """Return the choices of each leaf of a batch of actions, [N, factors], counted from 0; none for a Box of floats."""
    if is_composite(space):
        return [x for key, part in subspaces(space).items() for x in _choices(part, actions[key])]
    if is_continuous(space):
        return []
    first = getattr(space, "start", getattr(space, "low", 0))
    return [np.reshape(actions.astype(np.int64) - first, (len(actions), -1)).astype(np.int64)]


def _row(actions: Any, step: int) -> Any:
    """Return one action of a batch, without arrays."""
    if isinstance(actions, dict):
        return {key: _row(part, step) for key, part in actions.items()}
    if isinstance(actions, tuple):
        return tuple(_row(part, step) for part in actions)
    return actions[step].tolist()


def continuous_entries(pdtype: PdType) -> np.ndarray:
    """Return which entries of a flat action are of a Gaussian, [n] bool."""
    is_continuous_entry = np.full(int(np.prod(pdtype.sample_shape())), isinstance(pdtype, DiagGaussianPdType))
    if isinstance(pdtype, ProductPdType):
        for group in pdtype.groups:
            is_continuous_entry[group.actions.index] = isinstance(group.pdtype, DiagGaussianPdType)
    return is_continuous_entry


def mode_scores(pdtype: PdType, mode: np.ndarray, ac: np.ndarray) -> dict[str, float]:
    """Return how far the most likely actions are from those taken: in numbers, and how often all choices are right.

    Args:
        pdtype: the kind of distribution.
        mode: [N, *sample_shape].
        ac: [N, *sample_shape].
    """
    error = (np.asarray(mode, np.float64) - ac).reshape(len(ac), -1)
    is_number = continuous_entries(pdtype)
    scores = {}
    if is_number.any():
        scores["root mean square error"] = float(np.sqrt(np.square(error[:, is_number]).mean()))
    if not is_number.all():
        scores["accuracy"] = float((error[:, ~is_number] == 0).all(axis=1).mean())
    return scores
