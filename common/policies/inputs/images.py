"""Images among the parts of an observation. Imports no TensorFlow: the command line chooses a policy by them."""

from __future__ import annotations

from typing import Any, TypeGuard

import gymnasium as gym
import numpy as np

from common.space_tree import leaf_spaces

SMALLEST_IMAGE = 20  # pixels of an axis, which the convolutions of A3C's network need


def has_pixels(space: gym.Space[Any]) -> TypeGuard[gym.spaces.Box]:
    """Whether a space holds integers from 0 to 255 in two axes of pixels, and in axes of channels and frames."""
    return isinstance(space, gym.spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3, 4)


def holds_image(space: gym.Space[Any]) -> TypeGuard[gym.spaces.Box]:
    """Whether a leaf is an image: integers from 0 to 255 with at least `SMALLEST_IMAGE` pixels in two axes."""
    return has_pixels(space) and sorted(space.shape)[-2] >= SMALLEST_IMAGE


def has_images(space: gym.Space[Any]) -> bool:
    """Whether a leaf of a space is an image."""
    return any(map(holds_image, leaf_spaces(space).values()))
