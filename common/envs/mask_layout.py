"""Action masks: their flat layout, the shapes in which environments give them, and the observations that contain one.

An action space is a product of factors. A Discrete is one factor. A MultiDiscrete, a MultiBinary and a Box of integers
have one for each entry, and a Dict and a Tuple have those of their parts. A Box of floats has no choices. A flat mask
has one entry for each choice of each factor, in this order, as sb3-contrib's `action_masks()` returns it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import gymnasium as gym
import numpy as np

from common.dtypes import REAL_KINDS
from common.errors import EnvError
from common.formatting import describe_space, safe_repr
from common.space_tree import Space, is_continuous, subspaces

ACTION_MASK, OBSERVATION = "action_mask", "observation"  # keys of an observation that contains a mask


class MaskLayout:
    """Layout of the flat masks of an action space.

    Args:
        ac_space: the action space.

    Attributes:
        space: the action space.
        parts: {key or index: layout} of the parts of a Dict or Tuple.
        sizes: number of choices of each factor.
        n: length of a mask; 0 if the space has no choices.
    """

    def __init__(self, ac_space: Space) -> None:
        self.space = ac_space
        self.parts = {key: MaskLayout(space) for key, space in subspaces(ac_space).items()}
        self.sizes: list[int] = _factor_sizes(ac_space) + [n for part in self.parts.values() for n in part.sizes]
        self.n = sum(self.sizes)

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each factor begins in a flat mask."""
        return np.array([0, *accumulate(self.sizes)][:-1])

    def flatten(self, mask: Any) -> np.ndarray:
        """Return a mask as a flat vector.

        Args:
            mask: of one of the shapes that `describe_shapes` names, or None: every choice is valid.

        Returns:
            A new array [n] uint8: 1 for a valid choice, 0 for an invalid one.

        Raises:
            ValueError: for another shape or other values.
        """
        if mask is None:
            return np.ones(self.n, np.uint8)
        array = _as_array(mask)
        if array is not None and array.shape == (self.n,):
            return _zeros_and_ones(array)
        space = self.space
        if self.parts:
            return self._flatten_parts(mask, array)
        if isinstance(space, gym.spaces.MultiBinary) and array is not None and array.shape == space.shape:
            return _flatten_bits(array)
        if isinstance(space, (gym.spaces.MultiDiscrete, gym.spaces.Box)):
            leaves = list(_leaves(mask, space.shape or ()))
            arrays = [_as_array(leaf) for leaf in leaves]
            if len(leaves) == len(self.sizes) and all(
                x is not None and x.shape == (n,) for x, n in zip(arrays, self.sizes)
            ):
                return np.concatenate([_zeros_and_ones(x) for x in arrays if x is not None])
        raise self._wrong_shape(mask, array)

    def _flatten_parts(self, mask: Any, array: np.ndarray | None) -> np.ndarray:
        if isinstance(self.space, gym.spaces.Dict):
            fits = isinstance(mask, Mapping) and mask.keys() == self.parts.keys()
        else:
            fits = isinstance(mask, Sequence) and len(mask) == len(self.parts)
        if not fits:
            raise self._wrong_shape(mask, array)
        flat = []
        for key, part in self.parts.items():
            try:
                flat.append(part.flatten(mask[key]))
            except ValueError as error:
                raise ValueError(f"with the part [{key!r}] {error}") from None
        return np.concatenate(flat)

    def _wrong_shape(self, mask: Any, array: np.ndarray | None) -> ValueError:
        found = safe_repr(mask) if array is None else f"of shape {array.shape}"
        return ValueError(f"{found}, where {describe_space(self.space)} has {self.describe_shapes()}")

    def describe_shapes(self) -> str:
        """Return the shapes that a mask may have, for error messages."""
        flat = f"a vector of shape ({self.n},)"
        match self.space:
            case gym.spaces.MultiBinary():
                return f"{flat} or an integer array of shape {self.space.shape} with 0, 1 or 2"
            case gym.spaces.MultiDiscrete() if len(self.sizes) <= 8:
                lengths = ", ".join(map(str, self.sizes))
                return f"{flat} or a tuple with one vector for each entry, of lengths {lengths}"
            case gym.spaces.Dict():
                return f"{flat} or a dict with the keys {safe_repr(list(self.parts))}"
            case gym.spaces.Tuple():
                return f"{flat} or a tuple with {len(self.parts)} masks"
        return flat

    def blocked_factor(self, flat: np.ndarray) -> int | None:
        """Return the number of the first factor whose choices are all invalid; None if there is none."""
        if len(self.sizes) == 1:
            return None if flat.any() else 0
        blocked = np.flatnonzero(np.add.reduceat(flat, self.starts, dtype=np.int64) == 0)
        return int(blocked[0]) if blocked.size else None

    def describe_blocked(self, factor: int) -> str:
        """Return that the choices of a factor are all invalid, for error messages."""
        if len(self.sizes) == 1:
            return f"without a valid action of {describe_space(self.space)}"
        return f"without a valid choice for entry {factor} of {len(self.sizes)} of {describe_space(self.space)}"

    def row(self, masks: Any, k: int) -> Any:
        """Return mask `k` of a batch of masks: an array or a list of masks, or, for a Dict, a dict of batches."""
        if isinstance(self.space, gym.spaces.Dict) and isinstance(masks, Mapping):
            return {key: part.row(masks[key], k) for key, part in self.parts.items() if key in masks}
        return masks[k]


def _factor_sizes(space: Space) -> list[int]:
    """Return the number of choices of each factor of a space without parts."""
    match space:
        case gym.spaces.Discrete():
            return [int(space.n)]
        case gym.spaces.MultiDiscrete():
            return [int(n) for n in space.nvec.ravel()]
        case gym.spaces.MultiBinary():
            return [2] * int(np.prod(space.shape))
        case gym.spaces.Box() if not is_continuous(space):
            return [int(high) - int(low) + 1 for low, high in zip(space.low.ravel(), space.high.ravel())]
    return []


def _as_array(mask: Any) -> np.ndarray | None:
    """Return an array of numbers; None for a dict, for ragged lists and for objects."""
    if isinstance(mask, np.ndarray):
        return None if mask.dtype == object else mask
    if isinstance(mask, Mapping):
        return None
    try:
        array = np.asarray(mask)
    except ValueError:
        return None
    return None if array.dtype == object else array


def _zeros_and_ones(array: np.ndarray) -> np.ndarray:
    """Return a new uint8 array of 0 and 1.

    Raises:
        ValueError: for other values.
    """
    if array.dtype != bool:
        if array.dtype.kind not in REAL_KINDS:
            raise ValueError(f"of dtype {array.dtype}, where bools or 0 and 1 are required")
        others = (array != 0) & (array != 1)
        if others.any():
            raise ValueError(f"with the value {array[others][0]}, where 1 is a valid choice and 0 an invalid one")
    return array.astype(np.uint8)


def _flatten_bits(array: np.ndarray) -> np.ndarray:
    """Return the flat mask of a MultiBinary for Gymnasium's form: 0 and 1 fix a bit, 2 leaves it free."""
    if array.dtype == bool:
        raise ValueError(
            f"of bools and of shape {array.shape}, where Gymnasium's form has integers: 0 and 1 fix an entry, 2 leaves "
            "it free"
        )
    if array.dtype.kind not in REAL_KINDS or not np.isin(array, (0, 1, 2)).all():
        raise ValueError(f"{safe_repr(array)}, where 0 and 1 fix an entry, and 2 leaves it free")
    return np.stack([array != 1, array != 0], axis=-1).ravel().astype(np.uint8)


def _leaves(mask: Any, shape: tuple[int, ...]) -> Iterator[Any]:
    """Yield the entries of nested sequences of this shape; fewer if the sequences have another shape."""
    if not shape:
        yield mask
    elif isinstance(mask, (tuple, list)) or (isinstance(mask, np.ndarray) and mask.ndim > 0):
        for part in mask if len(mask) == shape[0] else ():
            yield from _leaves(part, shape[1:])


def flatten_mask(ac_space: Space, mask: Any) -> np.ndarray:
    """Return an action mask as a flat vector, after checking it.

    Args:
        ac_space: the action space.
        mask: flat, as sb3-contrib's `action_masks()` returns it, or as Gymnasium's `ac_space.sample(mask)` takes it.

    Returns:
        [n] uint8: 1 for a valid choice, 0 for an invalid one.

    Raises:
        EnvError: for another shape or other values, or if all actions are invalid.
    """
    return checked_mask(MaskLayout(ac_space), mask)


def checked_mask(layout: MaskLayout, mask: Any) -> np.ndarray:
    """`flatten_mask` for a layout that is known.

    Raises:
        EnvError: as there.
    """
    try:
        flat = layout.flatten(mask)
    except ValueError as error:
        raise EnvError(f"gave an action mask {error}", "give a mask of one of these forms") from None
    if (factor := layout.blocked_factor(flat)) is not None:
        raise EnvError(
            f"gave an action mask {layout.describe_blocked(factor)}",
            "at least one action must be valid; where no action is left, end the episode",
        )
    return flat


def masked_space(ob_space: Space, ac_space: Space) -> gym.spaces.Dict:
    """Return the space of observations with a mask."""
    n = MaskLayout(ac_space).n
    return gym.spaces.Dict({ACTION_MASK: gym.spaces.MultiBinary(n), OBSERVATION: ob_space})


def has_action_mask(ob_space: Space, ac_space: Space) -> bool:
    """Whether a space of observations is one with a mask, as policies understand it."""
    return gives_mask(ob_space, ac_space) and isinstance(ob_space[ACTION_MASK], gym.spaces.MultiBinary)


def gives_mask(ob_space: Space, ac_space: Space) -> bool:
    """Whether observations have a mask as PettingZoo's do: a MultiBinary or a Box from 0 to 1, of one dimension."""
    if not isinstance(ob_space, gym.spaces.Dict) or set(ob_space.spaces) != {ACTION_MASK, OBSERVATION}:
        return False
    mask_space, n = ob_space[ACTION_MASK], MaskLayout(ac_space).n
    if n == 0 or mask_space.shape != (n,):
        return False
    if isinstance(mask_space, gym.spaces.MultiBinary):
        return True
    return isinstance(mask_space, gym.spaces.Box) and bool((mask_space.low == 0).all() and (mask_space.high == 1).all())
