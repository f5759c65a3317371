"""Values as JSON has them. What goes into a file's metadata or into config.json passes here first, so that what is read again is what was written."""

import json
import math

import numpy as np

from common.errors import UserError
from common.formatting import safe_repr

LONGEST = 100_000  # characters of an environment's argument: config.json and a policy's header, which hold them, are read only up to a length


def as_json(x, name, numbers_as_keys=False):
    """`x` of JSON's own types: NumPy's numbers, arrays and tensors become Python's numbers and lists of them, tuples become lists.

    Args:
        x: any value.
        name: what an error calls it.
        numbers_as_keys: whether a dict may have keys that are numbers, which become text; else they are refused, as they do not come back.

    Raises:
        UserError: naming the part that JSON has no form for.
    """
    try:
        return _as_json(x, name, numbers_as_keys)
    except RecursionError as error:
        raise UserError(f"{name} is nested too deep, or holds itself; give a flat value") from error


def _as_json(x, name, numbers_as_keys):
    if x is None or type(x) in (bool, int, float, str):
        return x
    if isinstance(x, dict):
        texts = {key: _key(key, name, numbers_as_keys) for key in x}
        return {texts[key]: _as_json(value, f"{name}[{key!r}]", numbers_as_keys) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [_as_json(value, f"{name}[{i}]", numbers_as_keys) for i, value in enumerate(x)]
    if callable(getattr(x, "numpy", None)):  # a tensor or a variable
        x = x.numpy()
    if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "biufU":
        return (x.astype(np.float64) if x.dtype.kind == "f" and x.dtype.itemsize > 8 else x).tolist()
    for kind in (int, float):
        if isinstance(x, kind):  # an IntEnum
            return kind(x)
    if isinstance(x, str):
        return str.__str__(x)
    raise UserError(
        f"{name}={safe_repr(x)} is of type {type(x).__name__}, which JSON has no form for; give numbers, text, or lists and dicts of them"
    )


def _key(key, name, numbers_as_keys):
    if isinstance(key, str):
        return str.__str__(key)
    key = key.item() if isinstance(key, np.generic) else key
    if numbers_as_keys and (key is None or isinstance(key, (bool, int, float))):
        return next(iter(json.loads(json.dumps({key: None}))))
    raise UserError(
        f"{name} has the key {safe_repr(key)}, and JSON has text for keys alone; give str({safe_repr(key)})"
    )


def survives(x):
    """Whether JSON gives a value back that means the same to code that was written for it: not NaN, an array, a set, an object, or a dict with keys that are
    no text. A tuple comes back as a list, as it would be typed on the command line."""
    if type(x) in (list, tuple):
        return all(map(survives, x))
    if type(x) is dict:
        return all(isinstance(key, str) for key in x) and all(map(survives, x.values()))
    if isinstance(x, np.generic):
        return (
            x.dtype.kind in "biufU" and type(x.item()) in (bool, int, float, str) and survives(x.item())
        )  # a longdouble's item is one again
    return x is None or type(x) in (bool, int, str) or type(x) is float and math.isfinite(x)


def kept_and_lost(kwargs):
    """(kept, lost) of keyword arguments: those that a file can hold, as JSON; and {name: its type} of those that it cannot."""
    try:
        kept = {name: as_json(x, name) for name, x in kwargs.items() if survives(x)}
    except RecursionError:  # one holds itself: no run is kept from its start by that
        kept = {}
    kept = {name: x for name, x in kept.items() if len(json.dumps(x)) <= LONGEST}
    return kept, {name: type(x).__name__ for name, x in kwargs.items() if name not in kept}
