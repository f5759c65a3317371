"""From whatever an environment observes to one array per observation, as segments store it."""

import gymnasium as gym
import numpy as np

from common.dtypes import NUMBERS, CannotHold, cast
from common.errors import UserError
from common.formatting import describe_space, truncate
from common.policies.space_serialization import kind_of, parts_of


def is_image(space):
    """Whether a space holds images: a Box of rank 3."""
    return isinstance(space, gym.spaces.Box) and len(space.shape) == 3


def in_dtypes(space, ob):
    """An observation, or a batch of them with batched leaves, whose leaves are arrays of the dtypes of their spaces, each cast where nothing is lost.

    Leaves that are of their dtype stay what they are, and so do ints of a Discrete space.

    Raises:
        CannotHold: for a number that its space has no place for.
        ValueError: for what is no array of real numbers.
    """
    dtype = getattr(
        ob, "dtype", None
    )  # looked at first: to ask for the abstract base classes Dict and Tuple costs a fifth of a microsecond each
    if dtype is not None and dtype is space.dtype or type(ob) is int and isinstance(space, gym.spaces.Discrete):
        return ob
    if isinstance(space, gym.spaces.Dict):
        return {name: in_dtypes(part, ob[name]) for name, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(in_dtypes(part, own) for part, own in zip(space.spaces, ob, strict=True))
    x = np.asarray(ob)
    if x.dtype.kind not in NUMBERS:
        raise ValueError(f"of dtype {x.dtype}, where real numbers are due")
    return cast(x, space.dtype)


def check_choices(space, ob):
    """Raises ValueError if a Discrete or MultiDiscrete part of an observation is out of its range: its one-hot vector would be another choice's.

    Leaves are as `in_dtypes` returns them.
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
        for part, own in zip(space.spaces, ob):
            check_choices(part, own)


def check_encodable(space, whole):
    """Raises UserError if a part of the observation space `whole` has no encoding of fixed size: Text has a width for Gymnasium, but no meaning for a
    network."""
    if kind_of(space) is None or (kind_of(space) in ("Dict", "Tuple") and not space.spaces and space is not whole):
        part = "" if space is whole else f", for its part {describe_space(space)}"
        raise UserError(
            f"observation space {describe_space(whole)} is not supported{part}; "
            "use Box, Discrete, MultiBinary, MultiDiscrete, or a Dict or Tuple of them"
        )
    for part in parts_of(space).values():
        check_encodable(part, whole)


class ObservationEncoder:
    """One array of fixed shape and dtype per observation.

    Images stay as they are; any other Box becomes a vector; Discrete and MultiDiscrete become one-hot vectors, and Dict and Tuple
    the concatenation of their parts, as `gymnasium.spaces.flatten` orders them.

    Args:
        space: the Gymnasium space of the observations.
        keep_images: False makes a vector of an image, too.

    Attributes:
        shape, dtype: of one encoded observation.
        as_is: whether an observation is its own encoding.

    Raises:
        UserError: if the space has no encoding of fixed size.
    """

    def __init__(self, space, keep_images=True):
        check_encodable(space, space)
        self.space = space
        self.plain = isinstance(space, gym.spaces.Box)
        if self.plain:
            self.shape = space.shape if keep_images and is_image(space) else (int(np.prod(space.shape)),)
            self.dtype = space.dtype
        else:
            self.shape, self.dtype = (gym.spaces.flatdim(space),), np.dtype(np.float32)
        self.is_identity = self.plain and self.shape == space.shape
        if 0 in self.shape:
            raise UserError(
                f"observation space {describe_space(space)} has no entries; an observation needs at least one number"
            )

    def one(self, ob):
        """The array [*shape] of one observation, cast to `dtype` where nothing is lost.

        Raises:
            ValueError: if it has another shape, a number that its space cannot hold, or a choice that is none of its space's.
        """
        if self.plain:
            return np.reshape(in_dtypes(self.space, ob), self.shape)
        ob = in_dtypes(self.space, ob)
        check_choices(self.space, ob)
        flat = gym.spaces.flatten(self.space, ob)
        if flat.shape != self.shape:
            raise ValueError(f"{flat.size} numbers, not {self.shape[0]}")
        return flat.astype(self.dtype)

    def batch(self, obs, batched_space):
        """The array [N, *shape] of a batch as a `VectorEnv` with this `single_observation_space` returns it, a Box's of `dtype`. ValueError as `one`."""
        if self.plain:
            return in_dtypes(self.space, obs).reshape(len(obs), *self.shape)
        return np.stack([self.one(ob) for ob in gym.vector.utils.iterate(batched_space, obs)])

    def single_or_batch(self, ob):
        """(array [N, *shape], whether `ob` was a batch). A batch of a Dict or Tuple is one with batched leaves.

        Leaves are arrays, tensors or lists of any dtype, and are cast to those of the space where nothing is lost.

        Raises:
            UserError: if it is neither one observation of the space nor a batch of them, or has a number that the space cannot hold.
        """
        try:
            ob = in_dtypes(self.space, ob)
            leaf, leaf_space = ob, self.space
            while isinstance(leaf_space, (gym.spaces.Dict, gym.spaces.Tuple)):
                key = next(iter(leaf_space.spaces)) if isinstance(leaf_space, gym.spaces.Dict) else 0
                leaf, leaf_space = leaf[key], leaf_space[key]
            shape, expected = np.shape(leaf), tuple(leaf_space.shape)
            if shape == expected:
                return self.one(ob)[None], False
            if shape[1:] == expected:
                return self.batch(ob, gym.vector.utils.batch_space(self.space, len(leaf))), True
        except CannotHold as error:
            divided = is_image(self.space) and np.min(ob) >= 0 and np.max(ob) <= 1
            raise UserError(
                f"an observation {error} does not fit the policy's space {describe_space(self.space)}; "
                + (
                    "give the image undivided, in whole numbers from 0 to 255: this one looks divided by 255"
                    if divided
                    else "give numbers that the space can hold"
                )
            ) from None
        except (IndexError, KeyError, TypeError, ValueError, NotImplementedError) as error:
            raise UserError(
                f"observation {str(ob)[:60]!r} does not fit the policy's space {describe_space(self.space)} "
                f"({type(error).__name__}: {truncate(str(error))}); give one of the space, or a batch of them"
            ) from error
        raise UserError(
            f"observation of shape {shape} does not fit the policy's space {describe_space(self.space)}; give {expected} or (N, *{expected})"
        )
