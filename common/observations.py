"""From whatever an environment observes to one array per observation, as segments store it."""
import gymnasium as gym
import numpy as np

from common.errors import UserError
from common.spaces import in_one_line

FLATTENED = (gym.spaces.Discrete, gym.spaces.MultiBinary, gym.spaces.MultiDiscrete, gym.spaces.Dict, gym.spaces.Tuple)


def is_image(space):
    """Whether a space holds images: a Box of rank 3."""
    return isinstance(space, gym.spaces.Box) and len(space.shape) == 3


def check_choices(space, ob):
    """Raises ValueError if a Discrete or MultiDiscrete part of an observation is out of its range: its one-hot vector would be another choice's."""
    if isinstance(space, gym.spaces.Dict):
        for name, part in space.items():
            check_choices(part, ob[name])
    elif isinstance(space, gym.spaces.Tuple):
        for part, own in zip(space, ob):
            check_choices(part, own)
    elif isinstance(space, (gym.spaces.Discrete, gym.spaces.MultiDiscrete)):
        choice, choices = np.asarray(ob) - space.start, space.n if isinstance(space, gym.spaces.Discrete) else space.nvec
        if not np.all((choice >= 0) & (choice < choices)):
            raise ValueError(f"{ob} is not in {in_one_line(space)}")


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
        self.space = space
        self.plain = isinstance(space, gym.spaces.Box)
        if self.plain:
            self.shape = space.shape if keep_images and is_image(space) else (int(np.prod(space.shape)),)
            self.dtype = space.dtype
        elif isinstance(space, FLATTENED) and space.is_np_flattenable:
            self.shape, self.dtype = (gym.spaces.flatdim(space),), np.dtype(np.float32)
        else:
            raise UserError(f"observation space {in_one_line(space)} is not supported; "
                            "use Box, Discrete, MultiBinary, MultiDiscrete, or a Dict or Tuple of them")
        self.as_is = self.plain and self.shape == space.shape
        if 0 in self.shape:
            raise UserError(f"observation space {in_one_line(space)} has no entries; an observation needs at least one number")

    def one(self, ob):
        """The array [*shape] of one observation; ValueError if it has another, or a choice in it is none of its space's."""
        if self.plain:
            return np.reshape(ob, self.shape)
        check_choices(self.space, ob)
        flat = gym.spaces.flatten(self.space, ob)
        if flat.shape != self.shape:
            raise ValueError(f"{flat.size} numbers, not {self.shape[0]}")
        return flat.astype(self.dtype)

    def batch(self, obs, batched_space):
        """The array [N, *shape] of a batch as a `VectorEnv` with this `single_observation_space` returns it."""
        if self.plain:
            return obs.reshape(len(obs), *self.shape)
        return np.stack([self.one(ob) for ob in gym.vector.utils.iterate(batched_space, obs)])

    def single_or_batch(self, ob):
        """(array [N, *shape], whether `ob` was a batch). A batch of a Dict or Tuple is one with batched leaves.

        Raises:
            UserError: if it is neither one observation of the space nor a batch of them.
        """
        try:
            leaf, leaf_space = ob, self.space
            while isinstance(leaf_space, (gym.spaces.Dict, gym.spaces.Tuple)):
                key = next(iter(leaf_space.spaces)) if isinstance(leaf_space, gym.spaces.Dict) else 0
                leaf, leaf_space = leaf[key], leaf_space[key]
            shape, expected = np.shape(leaf), tuple(leaf_space.shape)
            if shape == expected:
                return self.one(ob)[None], False
            if shape[1:] == expected:
                return self.batch(np.asarray(ob) if self.plain else ob, gym.vector.utils.batch_space(self.space, len(leaf))), True
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"observation {str(ob)[:60]!r} does not fit the policy's space {in_one_line(self.space)} "
                            f"({type(error).__name__}); give one of the space, or a batch of them") from error
        raise UserError(f"observation of shape {shape} does not fit the policy's space {in_one_line(self.space)}; give {expected} or (N, *{expected})")
