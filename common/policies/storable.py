"""Saves and loads policies: the variables as arrays, the description of a policy, its files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

import gymnasium as gym
import numpy as np

from common.errors import UserError
from common.formatting import safe_repr
from common.policies import space_serialization
from common.policies.files import FORMAT, build_policy, read_policy
from common.policies.locate import find_policy
from common.policies.variables import PolicyModule
from common.running_mean_std import RunningMeanStd
from common.storage.array_files import check_arrays, save_arrays
from common.storage.json_values import to_json
from common.storage.paths import file_path
from common.storage.write_errors import raises_write_error
from common.tf_util import variables_by_name
from common.validation import error_prefix

UserPath = str | bytes | os.PathLike[str]


def without_wrappers(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with Python's own lists instead of those that TensorFlow makes of a module's attributes."""
    return {name: list(x) if isinstance(x, list | tuple) else x for name, x in settings.items()}


class StorablePolicy(PolicyModule):
    """The part of `Policy` that saves and loads it.

    Args:
        name: 'pi' or 'oldpi'.
        ob_space: Gymnasium space of the observations.
        ac_space: Gymnasium space of the actions.

    Attributes:
        ob_rms: running mean and standard deviation of the observations, or None.
        legacy_defaults: {name: value} of settings that files of older versions lack, if the value differs from the
            default.
    """

    legacy_defaults: Mapping[str, Any] = {}

    def __init__(self, name: str, ob_space: gym.Space[Any], ac_space: gym.Space[Any]) -> None:
        super().__init__(name=name)
        self.ob_space = ob_space
        self.ac_space = ac_space
        self.ob_rms: RunningMeanStd | None = None

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments, besides name and spaces, that build this policy again: {name: JSON value}."""
        return {}

    @classmethod
    def variable_shapes(
        cls, ob_space: gym.Space[Any], ac_space: gym.Space[Any], **settings: Any
    ) -> Mapping[str, Sequence[int]] | None:
        """Return {name: shape} of the variables that a policy with these `settings` has, without building anything;
        None if unknown.

        With it, `load` refuses a file whose settings do not match its arrays before it builds the network, however
        large the settings make it.

        Args:
            ob_space: Gymnasium space of the observations.
            ac_space: Gymnasium space of the actions.
            settings: what `settings()` returns.
        """
        return None

    def state(self) -> dict[str, np.ndarray]:
        """Return all variables and the observation filter, as copies: {name: array}."""
        arrays: dict[str, np.ndarray] = {name: v.numpy() for name, v in variables_by_name(self.get_variables()).items()}
        if self.ob_rms is not None:
            arrays |= {f"ob_rms/{name}": x for name, x in self.ob_rms.state().items()}
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray], source: str | os.PathLike[str] = "checkpoint") -> None:
        """Load what `state` returned.

        Args:
            arrays: by name.
            source: where they come from, for errors.

        Raises:
            UserError: if they are another model's.
        """
        check_arrays(source, arrays, self.state())
        self._initial_fingerprint = None
        for name, v in variables_by_name(self.get_variables()).items():
            v.assign(arrays[name])
        if self.ob_rms is not None:
            with error_prefix(source):
                self.ob_rms.restore({name: arrays[f"ob_rms/{name}"] for name in self.ob_rms.state()})

    def spec(self) -> dict[str, Any]:
        """Return what is needed to build this policy again, as JSON types: class, settings, spaces.

        Raises:
            UserError: naming the setting or the space that JSON cannot represent.
        """
        name = type(self).__name__
        return {
            "class": name,
            "settings": {key: to_json(x, f"{name}.settings(): {key}") for key, x in self.settings().items()},
            "ob_space": space_serialization.to_json(self.ob_space),
            "ac_space": space_serialization.to_json(self.ac_space),
        }

    def save(self, path: UserPath, **extra: Any) -> None:
        """Write the policy, its observation filter and its spaces to one safetensors file, and create its directory.

        Args:
            path: the file.
            extra: more entries for its metadata, as JSON.

        Raises:
            UserError: if `path` cannot name a file, or `extra` has a value that JSON cannot represent or a reserved
                name.
            WriteError: if the system refuses.
        """
        metadata = {"format": FORMAT, **self.spec()}
        if reserved := sorted(metadata.keys() & extra.keys()):
            name = reserved[0]
            raise UserError(
                f"invalid save({name}={safe_repr(extra[name])}): {name} is reserved for the policy's own description; "
                "choose another name"
            )
        with raises_write_error(str(path)):
            file = file_path(path)
        save_arrays(file, self.state(), metadata | extra)

    def restore_from(self, path: UserPath) -> None:
        """Load weights and filter of a policy like this one.

        Args:
            path: any path that `load` accepts.

        Raises:
            UserError: if the path leads to no policy, or to that of another model.
        """
        file = find_policy(path)
        self.restore(read_policy(file)[0], file)

    @classmethod
    def load(cls, path: UserPath, name: str = "pi") -> Self:
        """Load a policy of this class, in a process that need not have trained it.

        Args:
            path: a file that `save` wrote, a training's checkpoint, or a run directory.
            name: of the policy.

        Returns:
            The policy, with its weights and its observation filter.

        Raises:
            UserError: if the path leads to no policy, or the file is corrupt, inconsistent or of another class.
        """
        file = find_policy(path)
        arrays, metadata = read_policy(file)
        return build_policy(cls, file, arrays, metadata, name)
