"""Comparison of a policy's spaces with those of an environment or of another policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from common.errors import UserError
from common.formatting import describe_space, safe_repr
from common.policies.space_serialization import space_kind
from common.space_tree import is_continuous, subspaces

if TYPE_CHECKING:
    from common.policies.base import Policy

Space = gym.Space[Any]


def space_difference(a: Space, b: Space, bounds: bool = True, are_actions: bool = False) -> str | None:
    """Describe how two spaces differ for a learner; None if they do not.

    They are equal if observations or choices are encoded alike: the same kinds, shapes, numbers of choices and first
    choices, and the same keys in the same order. Their dtypes are ignored, and so is whether a class is Gymnasium's or
    derives from it.

    Args:
        a: one space.
        b: the other space.
        bounds: whether the bounds of a Box are compared.
        are_actions: a Box of integers is a choice among its numbers, unlike a Box of floats: its bounds are compared in
            any case.
    """
    kind = space_kind(a)
    if kind is None or kind != space_kind(b) or a.shape != b.shape:
        return f"{describe_space(a)} and {describe_space(b)}"
    has_choices = are_actions and kind == "Box" and not is_continuous(a)
    if are_actions and kind == "Box" and is_continuous(a) != is_continuous(b):
        return f"{describe_space(a)} and {describe_space(b)}"
    if kind in ("Dict", "Tuple"):
        parts, other_parts = subspaces(a), subspaces(b)
        if list(parts) != list(other_parts):
            return f"the parts {safe_repr(list(parts))} and {safe_repr(list(other_parts))}"
        for key, part in parts.items():
            if text := space_difference(part, other_parts[key], bounds, are_actions):
                return f"[{key!r}]{'' if text.startswith('[') else ': '}{text}"
        return None
    compared = {
        "Box": ("low", "high") if bounds or has_choices else (),
        "Discrete": ("n", "start"),
        "MultiDiscrete": ("nvec", "start"),
        "MultiBinary": (),
    }[kind]
    for name in compared:
        x, y = np.asarray(getattr(a, name)), np.asarray(getattr(b, name))
        is_different = ~np.isclose(x.astype(float), y.astype(float)) if kind == "Box" else x != y
        differing = np.argwhere(is_different)
        if len(differing):
            index = tuple(differing[0].tolist())
            return f"{name}{list(index) if index else ''} {x[index]} and {y[index]}"
    return None


def spaces_compatible(a: Space, b: Space) -> bool:
    """Whether observations of two spaces are encoded alike; bounds are ignored."""
    return space_difference(a, b, bounds=False) is None


def policy_space_difference(pi: Policy, ob_space: Space, ac_space: Space, bounds: bool = True) -> str | None:
    """Describe how a policy's spaces differ from these; None if they do not.

    Args:
        pi: the policy.
        ob_space: observation space; its bounds are ignored.
        ac_space: action space.
        bounds: whether the bounds of actions are compared.
    """
    differences = {
        "observations": space_difference(pi.ob_space, ob_space, bounds=False),
        "actions": space_difference(pi.ac_space, ac_space, bounds, are_actions=True),
    }
    return "; ".join(f"{name} differ, {text}" for name, text in differences.items() if text) or None


def describe_spaces(ob_space: Space, ac_space: Space) -> str:
    """Return the text of a policy's or an environment's spaces, for errors."""
    return f"observations {describe_space(ob_space)} and actions {describe_space(ac_space)}"


def check_spaces(path: object, pi: Policy, ob_space: Space, ac_space: Space, owner: str) -> None:
    """Raise UserError unless a policy was trained for these spaces.

    Args:
        path: where the policy was loaded from.
        pi: the policy.
        ob_space: expected observation space.
        ac_space: expected action space.
        owner: what has the expected spaces, for the message, such as "this run".
    """
    if difference := policy_space_difference(pi, ob_space, ac_space):
        raise UserError(
            f"{path} was trained for {describe_spaces(pi.ob_space, pi.ac_space)}; {owner} has "
            f"{describe_spaces(ob_space, ac_space)}: {difference}"
        )
