"""Reading of policy files, and building of the policies that they describe.

This module knows no concrete policy class: the caller passes the class. The claims of a file are compared with its
arrays before anything is built (`common.policies.untrusted`).
"""

from __future__ import annotations

import inspect
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from common.diagnostics.crash_dump import FORMAT as CRASH_DUMP_FORMAT
from common.errors import UnreadableFileError, UserError
from common.formatting import describe_space, safe_repr
from common.policies.space_comparison import space_difference
from common.policies.space_serialization import from_json
from common.policies.untrusted import check_array_shapes, constructor_matches_shapes, max_space_entries
from common.runs.checkpoint_store import FORMAT as CHECKPOINT_FORMAT
from common.storage.array_files import MAX_HEADER_BYTES, load_arrays
from common.validation import error_prefix

if TYPE_CHECKING:
    from common.policies.storable import StorablePolicy

P = TypeVar("P", bound="StorablePolicy")
Arrays = Mapping[str, np.ndarray]
Metadata = dict[str, Any]

FORMAT = "baselines_ppo.policy"
BEST = "best/policy.safetensors"  # in a run directory
# characters of a policy's class, settings and spaces; the rest of a header is for the other metadata of a file
MAX_SPEC_LENGTH = MAX_HEADER_BYTES // 4 - (1 << 20)
MAX_CLASS_NAME_LENGTH = 60


# ---- reading


def read_policy(path: str | os.PathLike[str]) -> tuple[Arrays, Metadata]:
    """Read a policy file, or the policy in a training's checkpoint or crash dump.

    Returns:
        (arrays by name, metadata).

    Raises:
        UserError: if the file is corrupt or of another kind.
    """
    arrays, metadata = load_arrays(path, FORMAT, CHECKPOINT_FORMAT, CRASH_DUMP_FORMAT)
    if metadata["format"] == FORMAT:
        return arrays, metadata
    if "policy" not in metadata:
        raise UserError(
            f"{path} lacks the description of its policy, because an older version wrote it; resume its run until it "
            "ends, then load policy/policy.safetensors"
        )
    if not isinstance(metadata["policy"], dict):
        raise UserError(
            f"{path} has an invalid description of its policy: {safe_repr(metadata['policy'])}; use a backup"
        )
    return {name.removeprefix("pi/"): x for name, x in arrays.items() if name.startswith("pi/")}, metadata["policy"]


def read_best(run_dir: str | os.PathLike[str]) -> Metadata | None:
    """Return the metadata of the best policy of a run; None if there is none, or it is corrupt and will be replaced by
    the next one.

    Raises:
        UserError: if it cannot be read, or only by another version: it may be intact, so it must not be replaced.
    """
    try:
        metadata: Metadata = load_arrays(Path(run_dir) / BEST, FORMAT)[1]
        return metadata
    except UnreadableFileError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise UserError(f"{error}; fix that, or move the file away to resume without it") from error
    except UserError:
        return None


def class_name_of(metadata: Metadata) -> str:
    """Return the name of the class that a file holds, or a safe text for a value that is not a class name."""
    name = metadata.get("class")
    if isinstance(name, str) and name.isidentifier() and len(name) <= MAX_CLASS_NAME_LENGTH:
        return name
    return safe_repr(name)


# ---- building


def build_policy(cls: type[P], path: str | os.PathLike[str], arrays: Arrays, metadata: Metadata, name: str = "pi") -> P:
    """Build the policy that a file describes and load the file's weights into it.

    Args:
        cls: its class.
        path: the file, for errors.
        arrays: as `read_policy` returns them.
        metadata: as `read_policy` returns it.
        name: of the policy.

    Raises:
        UserError: if the file holds another class, has invalid settings, or describes another network than its arrays
            belong to.
    """
    class_name = class_name_of(metadata)
    if class_name != cls.__name__:
        raise UserError(
            f"{path} holds a {class_name}, not a {cls.__name__}; load it with that class, or with load_policy"
        )
    max_entries = max_space_entries(sum(x.size for x in arrays.values()))
    try:
        settings = metadata["settings"]
        with error_prefix(path):
            ob_space, ac_space = (from_json(metadata[key], max_entries) for key in ("ob_space", "ac_space"))
            if constructor_matches_shapes(cls):
                settings = {**cls.legacy_defaults, **settings}
                check_array_shapes(path, arrays, cls.variable_shapes(ob_space, ac_space, **settings))
            passed = accepted_settings(cls, settings)
            policy = cls(name, ob_space, ac_space, **passed)
            check_fixed_settings(path, policy, {key: x for key, x in settings.items() if key not in passed})
    except UserError:
        raise
    except Exception as error:  # a class may raise anything when it gets settings that are not its own
        reason = f"{type(error).__name__}: {safe_repr(str(error))}"
        raise UserError(f"{path} has no valid description of its {cls.__name__} ({reason})") from error
    policy.restore(arrays, path)
    return policy


def accepted_settings(cls: type, settings: Metadata) -> Metadata:
    """Return those of a file's settings that the constructor of `cls` accepts.

    A derived class may fix some of its base's settings.
    """
    parameters = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return settings
    return {name: x for name, x in settings.items() if name in parameters}


def check_fixed_settings(path: object, policy: StorablePolicy, settings: Metadata) -> None:
    """Raise UserError unless a policy has these settings of its file, which its constructor does not accept."""
    own = policy.spec()["settings"] if settings else {}
    for name, x in settings.items():
        if name not in own or own[name] != x:
            fixed = f"fixes it at {safe_repr(own[name])}" if name in own else "has no such setting"
            raise UserError(
                f"{path} does not match its class {type(policy).__name__}: {name} is {safe_repr(x)}, but the class "
                f"{fixed}; load it with the version of the class that wrote the file"
            )


# ---- what can be saved


def check_serializable(pi: StorablePolicy) -> None:
    """Raise UserError unless a file can describe a policy like `pi`: checked before the first step, not at the first
    checkpoint.

    For a class that `load` cannot build, a warning is logged.
    """
    text = json.dumps(pi.spec())
    if len(text) > MAX_SPEC_LENGTH:
        raise UserError(
            f"settings and spaces of this {type(pi).__name__} take {len(text):,} characters, but files allow at most "
            f"{MAX_SPEC_LENGTH:,}; use spaces whose bounds are the same everywhere"
        )
    max_entries = max_space_entries(sum(v.shape.num_elements() for v in pi.variables))
    for name, space in (("ob_space", pi.ob_space), ("ac_space", pi.ac_space)):
        try:
            restored = from_json(json.loads(text)[name], max_entries)
        except UserError as error:
            raise UserError(
                f"a file of this {type(pi).__name__} could not be loaded: {error}; use a smaller {name}"
            ) from error
        if difference := space_difference(space, restored):
            raise UserError(
                f"a file cannot represent {name} {describe_space(space)} exactly: {difference}; use one of float32 or "
                "int64"
            )
    if missing := missing_arguments(type(pi), pi.settings()):
        logging.getLogger("baselines_ppo").warning(
            "%s.load will not be able to build this policy again: its constructor requires %s, which settings() lacks; "
            "return it from settings()",
            type(pi).__name__,
            ", ".join(missing),
        )


def missing_arguments(cls: type, settings: Metadata) -> list[str]:
    """Return the names of arguments that the constructor of `cls` requires in addition to name, spaces and
    `settings`.
    """
    parameters = list(inspect.signature(cls.__init__).parameters.values())  # type: ignore[misc]
    return [
        parameter.name
        for parameter in parameters[4:]  # after self, name, ob_space, ac_space
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.name not in settings
    ]
