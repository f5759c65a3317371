"""Checks against forged policy files.

A policy file may come from anybody, and the hash in it only shows that it is complete. These checks compare what the
file describes (its spaces, the variables of its network) with its own size before anything is built. A forged file
therefore cannot request more memory or time than a genuine file of its size. Nothing in a file can run code: it holds
arrays and JSON, which `common.storage.array_files` reads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import UserError
from common.formatting import safe_repr
from common.validation import check_int

DEFAULT_MAX_ENTRIES = 10**6  # entries of a space that any file may describe: some 20 MB
ENTRIES_PER_VALUE = 16  # a CnnPolicy of few filters on large images comes close to this
MAX_SPACE_PARTS = 1000  # of a Dict or Tuple, nested ones included
MAX_SPACE_DEPTH = 16
MAX_BOX_RANK = 32


def max_space_entries(num_values: int) -> int:
    """Return how many entries a space may have that is described by a file with `num_values` numbers in its arrays."""
    return max(DEFAULT_MAX_ENTRIES, ENTRIES_PER_VALUE * num_values)


def count_space_entries(description: Any) -> int:
    """Return how many numbers an observation of a described space is encoded as, without building the space.

    Args:
        description: JSON, in the form that `common.policies.space_serialization.to_json` returns.

    Raises:
        ValueError, KeyError, TypeError, ...: if the description is malformed or has too many or too deeply nested
        parts.
        UserError: for a count out of range.
    """
    if has_too_many_parts(description):
        raise ValueError("too many parts")
    return sum(map(_count_entries, iterate_descriptions(description)))


def has_too_many_parts(description: Any) -> bool:
    """Whether a description has more parts than are read back."""
    return len(list(itertools.islice(iterate_descriptions(description), MAX_SPACE_PARTS + 1))) > MAX_SPACE_PARTS


def iterate_descriptions(description: Any, depth: int = 0) -> Iterator[Any]:
    """Yield a space's description and those of its parts, recursively."""
    if depth > MAX_SPACE_DEPTH:
        raise ValueError("nested too deep")
    yield description
    if description["kind"] in ("Dict", "Tuple"):
        for part in description["spaces"]:
            if description["kind"] == "Dict":
                key, part = part
                parse_key(key)
            yield from iterate_descriptions(part, depth + 1)


def parse_key(data: Any) -> Any:
    """Return the key of a Dict space that JSON describes: a list is a tuple."""
    if isinstance(data, list):
        return tuple(parse_key(part) for part in data)
    if not isinstance(data, (bool, int, float, str, type(None))):
        raise TypeError("not a key")
    return data


def int_array(data: Any) -> np.ndarray:
    """Return nested lists of ints as an array; TypeError for other numbers."""
    x = np.asarray(data)
    if x.dtype.kind != "i":
        raise TypeError(f"{x.dtype}, where ints are required")
    return x


def _count_entries(description: Any) -> int:
    """Return the number of encoded entries of one description, not counting its parts."""
    match description["kind"]:
        case "Box":
            return _shape_product("shape", description["shape"])
        case "Discrete":
            return check_int("n", description["n"], 1)
        case "MultiDiscrete":
            return int(sum(int_array(description["nvec"]).ravel().tolist()))
        case "MultiBinary":
            return _shape_product(
                "n", description["n"] if isinstance(description["n"], list) else [description["n"]], 1
            )
        case "Dict" | "Tuple":
            return 0
    raise ValueError("unknown kind of space")


def _shape_product(name: str, shape: Sequence[Any], low: int = 0) -> int:
    """Return the number of entries of a described shape."""
    if len(shape) > MAX_BOX_RANK:
        raise ValueError(f"{name} of rank {len(shape)}")
    return math.prod(check_int(name, n, low) for n in shape)


def constructor_matches_shapes(cls: type) -> bool:
    """Whether `cls.variable_shapes` describes the variables of `cls`: both it and the constructor are defined by one
    class.

    A derived class with its own constructor may have other variables.
    """
    owner = next(base for base in cls.__mro__ if "variable_shapes" in vars(base))
    return cls.__init__ is owner.__init__  # type: ignore[misc]


def check_array_shapes(
    path: object, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, Sequence[int]] | None
) -> None:
    """Raise UserError unless a policy's arrays have the shapes that its settings imply.

    Args:
        path: the policy's file.
        arrays: of the file, by name.
        shapes: {name: shape} of the variables; None if the class does not know them before it is built.
    """
    if shapes is None:
        return
    found = {name.partition("/")[2]: x.shape for name, x in arrays.items() if not name.startswith("ob_rms/")}
    for name in {**shapes, **found}:
        expected = tuple(shapes[name]) if name in shapes else None
        if found.get(name) != expected:
            actual = f"has shape {found[name]}" if name in found else "is missing"
            implied = f"imply {expected}" if name in shapes else "imply no such variable"
            raise UserError(
                f"{path} is inconsistent: {safe_repr(name)} {actual}, but its settings {implied}; use a backup"
            )
