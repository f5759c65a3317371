"""Encoding of any observation as one array of fixed shape and dtype, as segments store it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from common.dtypes import REAL_KINDS, LossyCastError, cast_checked
from common.errors import UserError
from common.formatting import describe_space, truncate
from common.policies.space_serialization import space_kind, subspaces

Space = gym.Space[Any]


def is_image(space: Space) -> bool:
    """Whether a space holds images: a Box of rank 3."""
    return isinstance(space, gym.spaces.Box) and len(space.shape) == 3


def cast_to_space(space: Space, ob: Any) -> Any:
    """Cast the leaves of an observation, or of a batch with batched leaves, to the dtypes of their spaces.

    Leaves that have their dtype are returned as they are, and so are ints of a Discrete space.

    Raises:
        LossyCastError: for a number that its space cannot represent.
        ValueError: for a leaf that is not an array of real numbers.
    """
    # checked first, because isinstance() with the abstract base classes Dict and Tuple takes 0.2 microseconds each
    dtype = getattr(ob, "dtype", None)
    if dtype is not None and dtype is space.dtype or type(ob) is int and isinstance(space, gym.spaces.Discrete):
        return ob
    if isinstance(space, gym.spaces.Dict):
        return {name: cast_to_space(part, ob[name]) for name, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(cast_to_space(part, part_ob) for part, part_ob in zip(space.spaces, ob, strict=True))
    x = np.asarray(ob)
    if x.dtype.kind not in REAL_KINDS:
        raise ValueError(f"of dtype {x.dtype}, where real numbers are required")
    return cast_checked(x, np.dtype(space.dtype))


def check_choices(space: Space, ob: Any) -> None:
    """Raise ValueError if a Discrete or MultiDiscrete part is out of range: its one-hot vector would be that of another
    choice.

    Args:
        space: of the observation.
        ob: an observation whose leaves are as `cast_to_space` returns them.
    """
    if isinstance(space, gym.spaces.Discrete):
        if not 0 <= int(ob) - int(space.start) < space.n:
            raise ValueError(f"{ob} is not in {describe_space(space)}")
    elif isinstance(space, gym.spaces.MultiDiscrete):
        choice = ob - space.start
        if not ((choice >= 0) & (choice < space.nvec)).all():
            raise ValueError(f"{ob} is not in {describe_space(space)}")
    elif isinstance(space, (gym.spaces.Box, gym.spaces.MultiBinary)):
        return
    elif isinstance(space, gym.spaces.Dict):
        for name, part in space.spaces.items():
            check_choices(part, ob[name])
    elif isinstance(space, gym.spaces.Tuple):
        for part, part_ob in zip(space.spaces, ob):
            check_choices(part, part_ob)


def check_encodable(space: Space, root: Space) -> None:
    """Raise UserError if a space, a part of the observation space `root`, has no encoding of fixed size.

    Gymnasium gives Text a width, but a network could not interpret it.
    """
    kind = space_kind(space)
    if kind is None or (kind in ("Dict", "Tuple") and not subspaces(space) and space is not root):
        part = "" if space is root else f", because of its part {describe_space(space)}"
        raise UserError(
            f"observation space {describe_space(root)} is not supported{part}; "
            "use Box, Discrete, MultiBinary, MultiDiscrete, or a Dict or Tuple of them"
        )
    for subspace in subspaces(space).values():
        check_encodable(subspace, root)


class ObservationEncoder:
    """Encodes observations of a space as arrays of one shape and dtype.

    Images are left as they are. Any other Box becomes a vector. Discrete and MultiDiscrete become one-hot vectors. Dict
    and Tuple become the concatenation of their parts, in the order of `gymnasium.spaces.flatten`.

    Args:
        space: the Gymnasium space of the observations.
        keep_images: False turns an image into a vector, too.

    Attributes:
        shape: of one encoded observation.
        dtype: of an encoded observation.
        is_box: whether the space is a Box.
        is_identity: whether an observation is its own encoding.

    Raises:
        UserError: if the space has no encoding of fixed size.
    """

    def __init__(self, space: Space, keep_images: bool = True) -> None:
        check_encodable(space, space)
        self.space = space
        self.is_box = isinstance(space, gym.spaces.Box)
        self.shape: tuple[int, ...]
        self.dtype: np.dtype[Any]
        if isinstance(space, gym.spaces.Box):
            self.shape = space.shape if keep_images and is_image(space) else (int(np.prod(space.shape)),)
            self.dtype = space.dtype
        else:
            self.shape = (gym.spaces.flatdim(space),)
            self.dtype = np.dtype(np.float32)
        self.is_identity = self.is_box and self.shape == space.shape
        if 0 in self.shape:
            raise UserError(
                f"observation space {describe_space(space)} has no entries; an observation needs at least one number"
            )

    def encode(self, ob: Any) -> np.ndarray:
        """Encode one observation.

        Returns:
            [*shape], cast to `dtype` without loss.

        Raises:
            ValueError: if it has another shape, a number that its space cannot represent, or a choice out of range.
        """
        if self.is_box:
            return np.reshape(cast_to_space(self.space, ob), self.shape)
        ob = cast_to_space(self.space, ob)
        check_choices(self.space, ob)
        flat: np.ndarray = np.asarray(gym.spaces.flatten(self.space, ob))
        if flat.shape != self.shape:
            raise ValueError(f"{flat.size} numbers, not {self.shape[0]}")
        return flat.astype(self.dtype)

    def encode_batch(self, obs: Any, batched_space: Space) -> np.ndarray:
        """Encode a batch of observations as a `VectorEnv` returns it.

        Args:
            obs: the batch.
            batched_space: the space of the batch.

        Returns:
            [N, *shape] of `dtype`.

        Raises:
            ValueError: as in `encode`.
        """
        if self.is_box:
            encoded: np.ndarray = cast_to_space(self.space, obs).reshape(len(obs), *self.shape)
            return encoded
        return np.stack([self.encode(ob) for ob in gym.vector.utils.iterate(batched_space, obs)])

    def single_or_batch(self, ob: Any) -> tuple[np.ndarray, bool]:
        """Encode one observation or a batch, depending on the shape of `ob`.

        Args:
            ob: arrays, tensors or lists of any dtype. A batch of a Dict or Tuple has batched leaves.

        Returns:
            (array [N, *shape], whether `ob` was a batch).

        Raises:
            UserError: if `ob` is neither an observation of the space nor a batch, or has a number that the space cannot
                represent.
        """
        try:
            ob = cast_to_space(self.space, ob)
            leaf = ob
            leaf_space = self.space
            while parts := subspaces(leaf_space):
                key = next(iter(parts))
                leaf, leaf_space = leaf[key], parts[key]
            shape, expected = np.shape(leaf), tuple(leaf_space.shape or ())
            if shape == expected:
                return self.encode(ob)[None], False
            if shape[1:] == expected:
                return self.encode_batch(ob, gym.vector.utils.batch_space(self.space, len(leaf))), True
        except LossyCastError as error:
            raise UserError(self._describe_lossy_cast(ob, error)) from None
        except (IndexError, KeyError, TypeError, ValueError, NotImplementedError) as error:
            raise UserError(
                f"observation {str(ob)[:60]!r} does not fit the policy's space {describe_space(self.space)} "
                f"({type(error).__name__}: {truncate(str(error))}); use an observation of the space, or a batch"
            ) from error
        raise UserError(
            f"observation of shape {shape} does not fit the policy's space {describe_space(self.space)}; give "
            f"{expected} or (N, *{expected})"
        )

    def _describe_lossy_cast(self, ob: Any, error: LossyCastError) -> str:
        """Return the message for an observation with a number that the space cannot represent."""
        if is_image(self.space) and np.min(ob) >= 0 and np.max(ob) <= 1:
            hint = "give the image undivided, in integers from 0 to 255: this one seems to be divided by 255"
        else:
            hint = "give numbers that the space can represent"
        return f"an observation {error} does not fit the policy's space {describe_space(self.space)}; {hint}"
