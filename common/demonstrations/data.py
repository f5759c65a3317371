"""Demonstrations as arrays: what they contain, and the checks against the spaces of a policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from common.dtypes import REAL_KINDS, LossyCastError, cast_checked
from common.errors import UserError
from common.formatting import describe_space, safe_repr
from common.policies.space_serialization import subspaces

Entries = dict[str, np.ndarray]
ENDS = ("terminations", "truncations")
STEP_ENTRIES = ("rewards", *ENDS)  # all of them are given, or none
RENAME_KEY = "rename the key of the space that contains '/'"


def leaves(name: str, value: Any) -> Entries:
    """Return the arrays of a value of a Dict or Tuple space by name, such as `observations/camera/0`.

    Args:
        name: of the value, such as "observations"; an array itself has this name.
        value: a batch: an array, or a dict or tuple of batches.

    Raises:
        UserError: if two arrays have the same name, because a key contains "/".
    """
    if isinstance(value, Mapping):
        parts: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, tuple):
        parts = enumerate(value)
    else:
        return {name: np.asarray(value)}
    found: Entries = {}
    for key, part in parts:
        own = leaves(f"{name}/{key}", part)
        if both := sorted(found.keys() & own.keys()):
            raise UserError(f"{both[0]} is the name of two parts; {RENAME_KEY}")
        found |= own
    return found


class Demonstrations:
    """Steps of episodes, one after another.

    Without rewards and ends only a policy can learn from them. With them, returns are known.

    Args:
        observations: [N, ...] in which the actions were taken; of a Dict or Tuple space a dict or tuple of arrays.
        actions: [N, ...], as the environment got them.
        rewards: [N], of the environment. Give `terminations` and `truncations` with them.
        terminations, truncations: [N] bool, whether the step ended its episode.
        source: what error messages call the data, such as a file's name.

    Attributes:
        entries: {name: array}: `actions`, `rewards`, `observations/camera`, ...; what a file contains.
        steps: N.

    Raises:
        UserError: for arrays of different lengths, rewards without ends, or numbers that are not valid.
    """

    def __init__(
        self,
        observations: Any,
        actions: Any,
        rewards: Any = None,
        terminations: Any = None,
        truncations: Any = None,
        source: str = "demonstrations",
    ) -> None:
        entries = {**leaves("observations", observations), **leaves("actions", actions)}
        given = dict(zip(STEP_ENTRIES, (rewards, terminations, truncations)))
        entries |= {name: np.asarray(x) for name, x in given.items() if x is not None}
        self._set(entries, source)

    @classmethod
    def from_entries(cls, entries: Entries, source: str = "demonstrations") -> Demonstrations:
        """Return the demonstrations with these `entries`, such as those of a file.

        Raises:
            UserError: as in the constructor, and for an entry with another name.
        """
        made = cls.__new__(cls)
        made._set(entries, source)
        return made

    @classmethod
    def from_episodes(cls, episodes: Iterable[Mapping[str, Any]], source: str = "demonstrations") -> Demonstrations:
        """Join episodes.

        Args:
            episodes: each one a mapping with the names of the constructor's arrays. It may have one observation more
                than actions, which is left out. If its last step has no end, it counts as truncated there.
            source: as in the constructor.

        Raises:
            UserError: as in the constructor, and for episodes with different entries.
        """
        parts: list[Entries] = []
        for episode in episodes:
            entries = leaves("actions", episode["actions"])
            steps = len(next(iter(entries.values()), ()))
            for name, x in leaves("observations", episode["observations"]).items():
                entries[name] = x[:steps] if len(x) == steps + 1 else x
            entries |= {name: np.array(episode[name]) for name in STEP_ENTRIES if episode.get(name) is not None}
            if all(name in entries and entries[name].shape == (steps,) for name in ENDS) and steps:
                entries["truncations"][-1] |= not entries["terminations"][-1]
            parts.append(entries)
            if entries.keys() != parts[0].keys():
                raise UserError(f"{source}: episode {len(parts) - 1} has other entries than episode 0; use the same")
        if not parts:
            raise UserError(f"{source} has no episode; use data with steps")
        try:
            joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        except ValueError as error:
            raise UserError(f"{source}: the episodes have arrays of different shapes ({error}); use the same") from None
        return cls.from_entries(joined, source)

    def _set(self, entries: Entries, source: str) -> None:
        self.entries, self.source = dict(entries), source
        for name, x in self.entries.items():
            root = name.split("/")[0]
            if root not in ("observations", "actions") and name not in STEP_ENTRIES:
                raise self._error(name, "is not an entry of demonstrations", f"use {', '.join(self._known())}")
            if x.dtype.kind not in REAL_KINDS:
                raise self._error(name, f"has dtype {x.dtype}", "it must be an array of numbers or bools")
            if x.ndim == 0:
                raise self._error(name, "is a single number", "it must be an array with one row per step")
        for root in ("observations", "actions"):
            if not any(name.split("/")[0] == root for name in self.entries):
                raise self._error(root, "is missing", "demonstrations need observations and actions")
        self.steps = len(next(x for name, x in self.entries.items() if name.split("/")[0] == "actions"))
        for name, x in self.entries.items():
            if len(x) != self.steps:
                longer = len(x) == self.steps + 1
                fix = "leave out what follows the last action" if longer else "there must be one row per step"
                raise self._error(name, f"has {len(x):,} rows for {self.steps:,} actions", fix)
        if self.steps < 2:
            raise UserError(f"{source} has {self.steps} steps; training and validation need at least 2")
        self._check_step_entries()

    @staticmethod
    def _known() -> tuple[str, ...]:
        return ("observations", "actions", *STEP_ENTRIES)

    def _error(self, name: str, what: str, fix: str) -> UserError:
        return UserError(f"{self.source}: {name} {what}; {fix}")

    def _check_step_entries(self) -> None:
        """Check shapes and values of rewards and ends, and convert them to float64 and bool."""
        found = [name for name in STEP_ENTRIES if name in self.entries]
        if found and len(found) < len(STEP_ENTRIES):
            missing = next(name for name in STEP_ENTRIES if name not in found)
            raise self._error(
                missing, f"is missing, but {found[0]} is there", f"{', '.join(STEP_ENTRIES)} belong together"
            )
        for name in found:
            x = self.entries[name]
            if x.ndim != 1:
                raise self._error(name, f"has shape {x.shape}", f"it must have {(self.steps,)}")
            if name == "rewards":
                self._check_finite(name, x)
                self.entries[name] = x.astype(np.float64)
            else:
                if not np.isin(x, (0, 1)).all():
                    bad = x[~np.isin(x, (0, 1))][0]
                    raise self._error(
                        name, f"contains {bad}", "it must be True where a step ended its episode, else False"
                    )
                self.entries[name] = x.astype(bool)

    def _check_finite(self, name: str, x: np.ndarray) -> None:
        bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1)) if x.dtype.kind == "f" else ()
        if len(bad):
            raise self._error(name, f"is not finite in step {bad[0]:,}", "leave out that episode")

    @property
    def has_returns(self) -> bool:
        """Whether rewards and ends are known."""
        return "rewards" in self.entries

    @property
    def ends(self) -> np.ndarray:
        """[N] bool, the last steps of episodes; the last step of all ends one. Needs `has_returns`."""
        ends = self.entries["terminations"] | self.entries["truncations"]
        ends[-1] = True
        return ends

    @property
    def starts(self) -> np.ndarray:
        """[N] bool, the first steps of episodes. Needs `has_returns`."""
        return np.concatenate([[True], self.ends[:-1]])

    def episode_returns(self) -> np.ndarray:
        """Return the undiscounted return of each episode. Needs `has_returns`."""
        totals: np.ndarray = np.add.reduceat(self.entries["rewards"], np.flatnonzero(self.starts))
        return totals

    def with_rewards(self, rewards: np.ndarray) -> Demonstrations:
        """Return the same steps with other rewards [N]."""
        return self.from_entries({**self.entries, "rewards": rewards}, self.source)

    def observations(self, space: gym.Space[Any]) -> Any:
        """Return all observations as a batch of an observation space, in its structure and dtypes.

        Raises:
            UserError: naming the first entry that is not of the space.
        """
        return self._batch("observations", space)

    def actions(self, space: gym.Space[Any]) -> Any:
        """Return all actions as a batch of an action space, in its structure and dtypes.

        Raises:
            UserError: naming the first entry that is not of the space, or an action out of its range.
        """
        return self._batch("actions", space)

    def _batch(self, root: str, space: gym.Space[Any]) -> Any:
        batch, used = self._part(root, space, is_action=root == "actions")
        unused = [name for name in self.entries if name.split("/")[0] == root and name not in used]
        if unused:
            raise self._error(unused[0], f"is not in the environment's space {describe_space(space)}", "leave it out")
        if len(set(used)) < len(used):
            both = next(name for name in used if used.count(name) > 1)
            raise self._error(both, "is the name of two parts of the environment's space", RENAME_KEY)
        return batch

    def _part(self, name: str, space: gym.Space[Any], is_action: bool) -> tuple[Any, list[str]]:
        """Return the batch of a space or of a part of it, and the names of the entries in it."""
        parts = subspaces(space)
        if not parts:
            return self._leaf(name, space, is_action), [name]
        found = {key: self._part(f"{name}/{key}", part, is_action) for key, part in parts.items()}
        used = [entry for _, names in found.values() for entry in names]
        batches = {key: batch for key, (batch, _) in found.items()}
        return (batches if isinstance(space, gym.spaces.Dict) else tuple(batches.values())), used

    def _leaf(self, name: str, space: gym.Space[Any], is_action: bool) -> np.ndarray:
        x, expected = self.entries.get(name), (self.steps, *(space.shape or ()))
        if x is None:
            raise self._error(name, "is missing", f"the environment's space has it as {describe_space(space)}")
        if x.shape != expected:
            raise self._error(
                name, f"has shape {x.shape}", f"the environment's space {describe_space(space)} needs {expected}"
            )
        self._check_finite(name, x)
        try:
            x = cast_checked(x, np.dtype(space.dtype))
        except LossyCastError as error:
            raise self._error(name, str(error), f"it must be in {describe_space(space)}") from None
        outside = _outside(x, space, is_action)
        if outside.any():
            step = int(np.flatnonzero(outside.reshape(self.steps, -1).any(axis=1))[0])
            raise self._error(
                name, f"is {safe_repr(x[step].tolist())} in step {step:,}", f"it must be in {describe_space(space)}"
            )
        return x


def _outside(x: np.ndarray, space: gym.Space[Any], is_action: bool) -> np.ndarray:
    """Return where values [N, ...] are outside a space. Observations of a Box may be, as those of environments are."""
    if isinstance(space, gym.spaces.Discrete):
        return (x < space.start) | (x >= space.start + space.n)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return (x < space.start) | (x >= space.start + space.nvec)
    if isinstance(space, gym.spaces.MultiBinary):
        return (x < 0) | (x > 1)
    if isinstance(space, gym.spaces.Box) and is_action:
        return (x < space.low) | (x > space.high)
    return np.zeros(len(x), bool)
