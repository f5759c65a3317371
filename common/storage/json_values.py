"""Converts values to what JSON can represent.

Metadata of files and `config.json` pass here first, so that what is read back is what was written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import UserError
from common.formatting import safe_repr

# characters of one environment argument: the files that contain it are only read up to a maximum length
MAX_ARGUMENT_LENGTH = 100_000


def to_json(value: Any, name: str, allow_number_keys: bool = False) -> Any:
    """Return a value as JSON types: NumPy numbers, arrays, tensors and tuples become Python numbers and lists.

    Args:
        value: any value.
        name: what an error calls it.
        allow_number_keys: whether a dict may have numbers as keys. They become text, and are read back as text.

    Raises:
        UserError: naming the part that JSON cannot represent.
    """
    try:
        return _to_json(value, name, allow_number_keys)
    except RecursionError as error:
        raise UserError(f"{name} is nested too deeply, or contains itself; use a flat value") from error


def _to_json(value: Any, name: str, allow_number_keys: bool) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, dict):
        keys = {key: _key_to_json(key, name, allow_number_keys) for key in value}
        return {keys[key]: _to_json(part, f"{name}[{key!r}]", allow_number_keys) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(part, f"{name}[{i}]", allow_number_keys) for i, part in enumerate(value)]
    if callable(getattr(value, "numpy", None)):  # a tensor or a variable
        value = value.numpy()
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufU":
        is_longdouble = value.dtype.kind == "f" and value.dtype.itemsize > 8
        return (value.astype(np.float64) if is_longdouble else value).tolist()
    for kind in (int, float):
        if isinstance(value, kind):  # such as an IntEnum
            return kind(value)
    if isinstance(value, str):
        return str.__str__(value)
    raise UserError(
        f"{name}={safe_repr(value)} is of type {type(value).__name__}, which JSON cannot represent; use numbers, text, "
        "or lists and dicts of them"
    )


def _key_to_json(key: Any, name: str, allow_number_keys: bool) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    key = key.item() if isinstance(key, np.generic) else key
    if allow_number_keys and (key is None or isinstance(key, (bool, int, float))):
        text: str = next(iter(json.loads(json.dumps({key: None}))))
        return text
    raise UserError(f"{name} has the key {safe_repr(key)}: JSON keys must be text; use str({safe_repr(key)})")


def survives_json(value: Any) -> bool:
    """Return whether a value that was written to JSON and read back means the same to the code that uses it.

    False for NaN, arrays, sets, objects and dicts with keys other than text. A tuple is read back as a list, as on the
    command line.
    """
    if type(value) in (list, tuple):
        return all(map(survives_json, value))
    if type(value) is dict:
        return all(isinstance(key, str) for key in value) and all(map(survives_json, value.values()))
    if isinstance(value, np.generic):
        python_value = value.item()  # of a longdouble: a longdouble again
        return (
            value.dtype.kind in "biufU"
            and type(python_value) in (bool, int, float, str)
            and survives_json(python_value)
        )
    return value is None or type(value) in (bool, int, str) or type(value) is float and math.isfinite(value)


def split_storable(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Split keyword arguments into those that a file can store, as JSON, and {name: type} of the others."""
    try:
        stored = {name: to_json(value, name) for name, value in kwargs.items() if survives_json(value)}
    except RecursionError:  # one contains itself: must not prevent a run from starting
        stored = {}
    stored = {name: value for name, value in stored.items() if len(json.dumps(value)) <= MAX_ARGUMENT_LENGTH}
    return stored, {name: type(value).__name__ for name, value in kwargs.items() if name not in stored}
