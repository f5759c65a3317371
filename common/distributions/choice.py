"""Chooses the kind of distribution for an action space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from common.distributions.base import PdType
from common.distributions.bernoulli import BernoulliPdType
from common.distributions.categorical import (
    CategoricalPdType,
    IntegerBoxPdType,
    MultiCategoricalPdType,
    integer_choices,
)
from common.distributions.gaussian import DiagGaussianPdType
from common.distributions.product import ProductPdType
from common.errors import UserError
from common.formatting import describe_space, safe_repr
from common.space_tree import is_composite, is_continuous, leaf_spaces

MAX_FACTORS = 10_000  # of a MultiDiscrete action, of a Box of integers, or of all parts of a Dict or Tuple
MAX_BOX_CHOICES = 1_024  # of each entry of a Box of integers
MAX_BOX_LOGITS = 10**6  # of all entries of a Box of integers together
INT32_RANGE = range(-(2**31), 2**31)  # discrete actions are stored as int32


def make_pdtype(space: gym.Space[Any]) -> PdType:
    """Return the kind of distribution for an action space.

    Args:
        space: a Box, Discrete, MultiDiscrete or MultiBinary, or a Dict or Tuple of these and of Dicts and Tuples.

    Raises:
        UserError: for any other space, an empty one, a Box of integers with more than `MAX_BOX_CHOICES` choices per
            entry, more than `MAX_FACTORS` factors, or actions beyond int32.
    """
    if not is_composite(space):
        return _leaf_pdtype(space, describe_space(space))
    text = describe_space(space)
    leaves = [
        _leaf_pdtype(leaf, f"{describe_space(leaf)}, the part {''.join(f'[{safe_repr(key)}]' for key in path)},")
        for path, leaf in leaf_spaces(space).items()
    ]
    if not leaves:
        raise UserError(f"action space {text} has no entries; an action needs at least one number")
    _check_number(text, sum(len(leaf.sizes) if isinstance(leaf, MultiCategoricalPdType) else 1 for leaf in leaves))
    return ProductPdType(space, leaves)


def _leaf_pdtype(space: gym.Space[Any], text: str) -> PdType:
    """Return the kind of distribution for a space without parts; `text` describes it."""
    if isinstance(space, (gym.spaces.Box, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)) and 0 in space.shape:
        raise UserError(f"action space {text} has no entries; an action needs at least one number")
    if isinstance(space, gym.spaces.Box):
        if is_continuous(space):
            return DiagGaussianPdType(space)
        _check_integer_box(text, space)
        return IntegerBoxPdType(space)
    if isinstance(space, gym.spaces.Discrete):
        _check_choices(text, [int(space.n)], [int(space.start)])
        return CategoricalPdType(space)
    if isinstance(space, gym.spaces.MultiDiscrete):
        _check_choices(text, np.ravel(space.nvec).tolist(), np.ravel(space.start).tolist())
        return MultiCategoricalPdType(space)
    if isinstance(space, gym.spaces.MultiBinary):
        return BernoulliPdType(space)
    raise UserError(
        f"action space {text} is not supported; use Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of "
        "them"
    )


def _check_integer_box(text: str, space: gym.spaces.Box) -> None:
    """Raise UserError if an entry of a Box of integers has too many choices, or choices beyond int32."""
    if not np.issubdtype(space.dtype, np.integer) and space.dtype != np.bool_:
        raise UserError(f"action space {text} is a Box of {space.dtype}; use a Box of float32 or of integers")
    _check_number(text, int(np.prod(space.shape)))
    sizes, starts = integer_choices(space)
    for number, most, where in ((max(sizes), MAX_BOX_CHOICES, "per entry"), (sum(sizes), MAX_BOX_LOGITS, "together")):
        if number > most:
            raise UserError(
                f"action space {text} is a Box of integers with {number:,} choices {where}, each an output of the "
                f"network; at most {most:,} are supported: use narrower bounds, or a Box of float32"
            )
    _check_choices(text, sizes.tolist(), starts.tolist())


def _check_number(text: str, number: int) -> None:
    """Raise UserError for too many factors; `text` describes the space."""
    if number > MAX_FACTORS:
        raise UserError(f"action space {text} has {number:,} parts; at most {MAX_FACTORS:,} are supported")


def _check_choices(text: str, sizes: Sequence[int], starts: Sequence[int]) -> None:
    """Raise UserError for too many factors, or for actions beyond int32; `text` describes the space."""
    _check_number(text, len(sizes))
    if not all(start in INT32_RANGE and start + n - 1 in INT32_RANGE for n, start in zip(sizes, starts)):
        raise UserError(f"action space {text} has actions beyond 32 bits; let them start at 0")
