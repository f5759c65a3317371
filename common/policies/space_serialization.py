"""Gymnasium spaces as JSON and back, so that a saved policy knows its observations and actions without any code of its
environment.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np

from common.errors import UserError
from common.formatting import describe_space, safe_repr
from common.policies.untrusted import (
    DEFAULT_MAX_ENTRIES,
    MAX_SPACE_DEPTH,
    MAX_SPACE_PARTS,
    count_space_entries,
    has_too_many_parts,
    int_array,
    parse_key,
)
from common.space_tree import subspaces as subspaces
from common.validation import INT64_MAX, check_int

Space = gym.Space[Any]
JsonObject = dict[str, Any]

INT_DTYPES = tuple(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))
BOX_DTYPES = ("bool", *INT_DTYPES, "float16", "float32", "float64")
SUPPORTED_KINDS = (
    gym.spaces.Box,
    gym.spaces.Discrete,
    gym.spaces.MultiDiscrete,
    gym.spaces.MultiBinary,
    gym.spaces.Dict,
    gym.spaces.Tuple,
)
# what an invalid description may raise while it is counted or built
DESCRIPTION_ERRORS = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    OverflowError,
    RecursionError,
)


def space_kind(space: Space) -> str | None:
    """Return the name of Gymnasium's space that a space is or derives from: 'Box', 'Dict', ....

    None if it has no encoding.
    """
    return next((kind.__name__ for kind in SUPPORTED_KINDS if isinstance(space, kind)), None)


# ---- to JSON


def to_json(space: Space) -> JsonObject:
    """Describe a space, or the one of Gymnasium's that it derives from, in JSON.

    Raises:
        UserError: if there is no such description, or if `from_json` would refuse it.
    """
    description = _describe(space)
    if has_too_many_parts(description):
        raise UserError(
            f"space {describe_space(space)} has more than {MAX_SPACE_PARTS:,} parts, which would not be read back; "
            "combine some of them in a Box"
        )
    return description


def _describe(space: Space, depth: int = 0) -> JsonObject:
    """Return the description of a space, inside `depth` other spaces."""
    if depth > MAX_SPACE_DEPTH:
        raise UserError(
            f"{describe_space(space)} is nested more than {MAX_SPACE_DEPTH} deep in Dicts or Tuples, which would not "
            "be read back; flatten some of them"
        )
    kind = space_kind(space)
    match space:
        case gym.spaces.Box():
            if space.dtype.name not in BOX_DTYPES:
                raise UserError(
                    f"space {describe_space(space)} is of {space.dtype.name}, which files do not support; use float64"
                )
            return {
                "kind": kind,
                "shape": list(space.shape),
                "dtype": space.dtype.name,
                "low": _bound_to_json(space.low),
                "high": _bound_to_json(space.high),
            }
        case gym.spaces.Discrete():
            return {"kind": kind, "n": int(space.n), "start": int(space.start), **_dtype_entry(space)}
        case gym.spaces.MultiDiscrete():
            return {"kind": kind, "nvec": space.nvec.tolist(), "start": space.start.tolist(), **_dtype_entry(space)}
        case gym.spaces.MultiBinary():
            return {"kind": kind, "n": space.n if isinstance(space.n, int) else list(space.shape)}
        case gym.spaces.Dict():
            parts = [[_key_to_json(key), _describe(part, depth + 1)] for key, part in space.spaces.items()]
            return {"kind": kind, "spaces": parts}
        case gym.spaces.Tuple():
            return {"kind": kind, "spaces": [_describe(part, depth + 1) for part in space.spaces]}
    raise UserError(
        f"space {describe_space(space)} cannot be saved; use Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple"
    )


def _bound_to_json(bound: np.ndarray) -> Any:
    """Return a bound as one number if it is the same everywhere: for an Atari image it would be 28,224 numbers."""
    x = np.asarray(bound)
    return x.flat[0].item() if x.size and (x == x.flat[0]).all() else x.tolist()


def _dtype_entry(space: Space) -> dict[str, str]:
    """Return {"dtype": name} of a space of choices.

    Nothing for int64, so that files of older versions look the same.
    """
    return {} if space.dtype == np.int64 else {"dtype": np.dtype(space.dtype).name}


def _key_to_json(key: Any) -> Any:
    """Return the key of a Dict space as JSON that preserves its type; a tuple becomes a list.

    Raises:
        UserError: unless it is text, a number, a bool, None or a tuple of these.
    """
    if isinstance(key, tuple):
        return [_key_to_json(part) for part in key]
    if isinstance(key, np.generic):
        key = key.item()
    if type(key) in (bool, int, str, type(None)) or (type(key) is float and math.isfinite(key)):
        return key
    raise UserError(
        f"the key {safe_repr(key)} of a Dict is of type {type(key).__name__}, which files do not support; use text or "
        "an int"
    )


# ---- from JSON


def from_json(description: Any, max_entries: int = DEFAULT_MAX_ENTRIES) -> Space:
    """Build the space that `to_json` described.

    Args:
        description: JSON, possibly forged.
        max_entries: largest number of encoded entries, those of one-hot vectors included.

    Raises:
        UserError: if the description is invalid or has more entries, before anything is built.
    """
    try:
        entries = count_space_entries(description)
        if entries <= max_entries:
            return _build(description)
    except DESCRIPTION_ERRORS as error:
        reason = error if isinstance(error, UserError) else type(error).__name__
        raise UserError(f"invalid description of a space: {safe_repr(description)} ({reason})") from error
    raise UserError(
        f"a space has {safe_repr(entries)} entries, but at most {max_entries:,} are allowed here: "
        f"{safe_repr(description)}"
    )


def _build(description: JsonObject) -> Space:
    """Build a space whose description has passed `count_space_entries`."""
    match description["kind"]:
        case "Box":
            if description["dtype"] not in BOX_DTYPES:
                raise ValueError("unknown dtype")
            shape, dtype = tuple(description["shape"]), np.dtype(description["dtype"])
            low, high = (_bound_from_json(description[bound], dtype, shape) for bound in ("low", "high"))
            return gym.spaces.Box(low, high, shape, dtype.type)
        case "Discrete":
            start = check_int("start", description["start"], -INT64_MAX)
            return gym.spaces.Discrete(description["n"], start=start, dtype=_int_dtype(description))
        case "MultiDiscrete":
            nvec, start_array = int_array(description["nvec"]), int_array(description["start"])
            return gym.spaces.MultiDiscrete(nvec, start=start_array, dtype=_int_dtype(description))
        case "MultiBinary":
            return gym.spaces.MultiBinary(description["n"])
        case "Dict":
            parts = [(parse_key(key), _build(part)) for key, part in description["spaces"]]
            return gym.spaces.Dict(parts, sort_keys=False)
        case "Tuple":
            return gym.spaces.Tuple([_build(part) for part in description["spaces"]])
    raise ValueError("unknown kind of space")


def _bound_from_json(data: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return a Box's bound as an array of this dtype and shape."""
    kind = np.asarray(data).dtype.kind
    if kind not in "iuf" and not kind == dtype.kind == "b":
        raise TypeError(f"{np.asarray(data).dtype}, where numbers are required")
    with np.errstate(all="ignore"):
        # directly to `dtype`: NumPy would make floats of uint64's largest number next to 0
        return np.broadcast_to(np.asarray(data, dtype), shape)


def _int_dtype(description: JsonObject) -> Any:
    """Return the dtype of a described space of choices; int64, Gymnasium's default, if none is given."""
    dtype = description.get("dtype", "int64")
    if dtype not in INT_DTYPES:
        raise ValueError("unknown dtype")
    return dtype
