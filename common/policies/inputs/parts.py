"""Mixed observations: the leaves of a Dict or Tuple as numbers, choices and images, in one record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeGuard

import gymnasium as gym
import numpy as np

from common.policies.inputs.records import record_of
from common.policies.layers.convolutions import ARCHITECTURES, has_pixels, min_pixels
from common.policies.observation_encoder import ObservationEncoder, cast_to_space, check_choices, check_encodable
from common.space_tree import leaf_spaces

Space = gym.Space[Any]
Path = tuple[Any, ...]  # keys and indices from the outermost space to a leaf
NUMBERS, CHOICES = "/numbers", "/choices"  # fields of a record; each image has a separate field
SMALLEST_IMAGE = min_pixels(ARCHITECTURES["small"][0])


def holds_image(space: Space) -> TypeGuard[gym.spaces.Box]:
    """Whether a leaf is an image: integers from 0 to 255 with at least `SMALLEST_IMAGE` pixels in two axes."""
    if not has_pixels(space):
        return False
    return sorted(space.shape)[-2] >= SMALLEST_IMAGE


def image_leaves(space: Space) -> dict[str, gym.spaces.Box]:
    """Return {name: space} of the images in an observation space; a name is the leaf's path, such as 'camera/left'."""
    parts = Parts.of(space)
    return {name: parts.images[path] for path, name in parts.image_names().items()}


@dataclass
class Parts:
    """The leaves of a space by kind, each {path: space}.

    Attributes:
        numbers: Boxes and MultiBinaries, which become one vector.
        choices: Discrete and MultiDiscrete, which become one-hot vectors.
        images: as `holds_image` finds them.
    """

    numbers: dict[Path, Space] = field(default_factory=dict)
    choices: dict[Path, Space] = field(default_factory=dict)
    images: dict[Path, gym.spaces.Box] = field(default_factory=dict)

    @classmethod
    def of(cls, space: Space) -> Parts:
        """Return the parts of a space."""
        parts = cls()
        for path, leaf in leaf_spaces(space).items():
            if holds_image(leaf):
                parts.images[path] = leaf
            elif isinstance(leaf, (gym.spaces.Discrete, gym.spaces.MultiDiscrete)):
                parts.choices[path] = leaf
            else:
                parts.numbers[path] = leaf
        return parts

    def image_names(self) -> dict[Path, str]:
        """Return {path: name} of the images: keys and indices, joined; 'image' for a space without parts."""
        names: dict[Path, str] = {}
        for path in self.images:
            name = "/".join(map(str, path)) or "image"
            while name in (*names.values(), NUMBERS, CHOICES):  # {"a": {"b": ...}, "a/b": ...}
                name += "_"
            names[path] = name
        return names


class PartsEncoder(ObservationEncoder):
    """Encodes observations as records with a vector of numbers, one of choices, and each image as it is.

    Args:
        space: the Gymnasium space of the observations.

    Attributes:
        parts: the leaves by kind.
        image_names: {path: name} of the images.

    Raises:
        UserError: if the space has no encoding of fixed size.
    """

    def __init__(self, space: Space) -> None:
        check_encodable(space, space)
        self.space = space
        self.is_box = self.is_identity = False
        self.shape = ()
        self.parts = Parts.of(space)
        fields: list[tuple[str, Any, tuple[int, ...]]] = []
        if self.parts.numbers:
            dtype = np.result_type(np.float32, *(leaf.dtype for leaf in self.parts.numbers.values()))
            fields.append((NUMBERS, dtype, (sum(map(gym.spaces.flatdim, self.parts.numbers.values())),)))
        if self.parts.choices:
            fields.append((CHOICES, np.uint8, (sum(map(gym.spaces.flatdim, self.parts.choices.values())),)))
        self.image_names = self.parts.image_names()
        fields += [(name, np.uint8, self.parts.images[path].shape) for path, name in self.image_names.items()]
        self.dtype = np.dtype(fields)

    def encode(self, ob: Any) -> np.ndarray:
        """Encode one observation, [] of `dtype`.

        Raises:
            ValueError: as in `ObservationEncoder.encode`.
        """
        ob = cast_to_space(self.space, ob)
        check_choices(self.space, ob)
        arrays = {}
        for name, leaves in ((NUMBERS, self.parts.numbers), (CHOICES, self.parts.choices)):
            if leaves:
                arrays[name] = np.concatenate(
                    [gym.spaces.flatten(leaf, _at(ob, path)) for path, leaf in leaves.items()]
                )
        for path, leaf in self.parts.images.items():
            image = np.asarray(_at(ob, path))
            if image.shape != leaf.shape:
                raise ValueError(f"an image of shape {image.shape}, not {leaf.shape}")
            arrays[self.image_names[path]] = image
        return record_of(self.dtype, arrays)

    def encode_batch(self, obs: Any, batched_space: Space) -> np.ndarray:
        """Encode a batch, [N] of `dtype`, as `ObservationEncoder.encode_batch` does."""
        return np.stack([self.encode(ob) for ob in gym.vector.utils.iterate(batched_space, obs)])


def _at(ob: Any, path: Path) -> Any:
    """Return the leaf of an observation at a path."""
    for key in path:
        ob = ob[key]
    return ob
