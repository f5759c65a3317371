"""Walks through Gymnasium spaces. Imports no TensorFlow."""

from __future__ import annotations

from typing import Any, TypeGuard

import gymnasium as gym
import numpy as np

Space = gym.Space[Any]


def subspaces(space: Space) -> dict[Any, Space]:
    """Return {key or index: part} of a Dict or a Tuple, and {} for any other space."""
    if isinstance(space, gym.spaces.Dict):
        return dict(space.spaces)
    if isinstance(space, gym.spaces.Tuple):
        return dict(enumerate(space.spaces))
    return {}


def is_composite(space: Space) -> bool:
    """Whether a space is a Dict or a Tuple."""
    return isinstance(space, (gym.spaces.Dict, gym.spaces.Tuple))


def is_continuous(space: Space) -> TypeGuard[gym.spaces.Box]:
    """Whether a space is a Box of floats."""
    return isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating)


def leaf_spaces(space: Space, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Space]:
    """Return {path: space} of the leaves of a space, in the order of `gymnasium.spaces.flatten`.

    Args:
        space: any space; without parts, it is the only leaf.
        path: of `space`; keys and indices from the outermost space on.
    """
    if not is_composite(space):
        return {path: space}
    leaves: dict[tuple[Any, ...], Space] = {}
    for key, part in subspaces(space).items():
        leaves |= leaf_spaces(part, (*path, key))
    return leaves
