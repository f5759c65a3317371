"""Turns stored actions of a Dict or Tuple into what environments take: its structure, and the dtypes of its parts."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from common.space_tree import Space, is_composite, is_continuous, subspaces


class ActionStructure:
    """Turns stored actions, vectors [n], into actions of their space.

    Floats are clipped to the bounds of their Box, and every part gets the dtype of its space. The arrays are new.

    Args:
        space: a Dict or a Tuple, or a part of one.

    Attributes:
        size: n, how many entries of the vector the space has.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.is_composite = is_composite(space)
        self.is_dict = isinstance(space, gym.spaces.Dict)
        self.is_discrete = isinstance(space, gym.spaces.Discrete)
        self.bounds = (space.low, space.high) if is_continuous(space) else None
        self.parts: dict[Any, tuple[int, int, ActionStructure]] = {}
        start = 0
        for key, part in subspaces(space).items():
            structure = ActionStructure(part)
            self.parts[key] = start, start + structure.size, structure
            start += structure.size
        self.size = start if self.is_composite else int(np.prod(space.shape))

    def batch(self, actions: np.ndarray) -> Any:
        """Return actions in the structure of the space, with batched leaves, as a `VectorEnv` takes them.

        Args:
            actions: [..., n].

        Returns:
            A dict or a tuple of the parts; a leaf is an array [..., *shape]. Without batch axes, that is one action,
            and a Discrete leaf is a NumPy scalar, as `space.sample()` returns it.
        """
        if self.is_composite:
            found = {key: part.batch(actions[..., start:end]) for key, (start, end, part) in self.parts.items()}
            return found if self.is_dict else tuple(found.values())
        x = actions.reshape((*actions.shape[:-1], *self.space.shape))
        if self.bounds is not None:
            x = np.minimum(np.maximum(x, self.bounds[0]), self.bounds[1])
        x = np.asarray(x).astype(self.space.dtype)
        return x[()] if self.is_discrete else x

    def stored(self, actions: Any) -> np.ndarray:
        """Return the vectors in which actions are stored: the inverse of `batch`, which also clips.

        Args:
            actions: in the structure of the space, with leaves [..., *shape].

        Returns:
            [..., n] float64.
        """
        if self.is_composite:
            parts = [part.stored(actions[key]) for key, (_, _, part) in self.parts.items()]
            joined: np.ndarray = np.concatenate(parts, axis=-1)
            return joined
        x = np.asarray(actions, np.float64)
        return x.reshape((*x.shape[: x.ndim - len(self.space.shape)], self.size))

    def rows(self, actions: np.ndarray) -> list[Any]:
        """Return one action of the space per row of `actions` [K, n]."""
        batch = self.batch(actions)
        return [self._row(batch, k) for k in range(len(actions))]

    def _row(self, batch: Any, k: int) -> Any:
        if self.is_composite:
            found = {key: part._row(batch[key], k) for key, (_, _, part) in self.parts.items()}
            return found if self.is_dict else tuple(found.values())
        return batch[k] if self.is_discrete else batch[k, ...]
