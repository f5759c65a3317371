"""Gymnasium spaces as JSON and back, so that a saved policy knows what it sees and does without any code of its environment."""

import itertools
import math

import gymnasium as gym
import numpy as np

from common.errors import UserError
from common.formatting import describe_space, safe_repr
from common.validation import INT64_MAX, check_int

DEFAULT_MAX_ENTRIES = 10**6  # entries that any file may describe: some 20 MB
MAX_PARTS, MAX_DEPTH, MAX_RANK = 1000, 16, 32  # of Dicts and Tuples; of a Box's shape
INTS = tuple(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))
DTYPES = ("bool", *INTS, "float16", "float32", "float64")
KINDS = (
    gym.spaces.Box,
    gym.spaces.Discrete,
    gym.spaces.MultiDiscrete,
    gym.spaces.MultiBinary,
    gym.spaces.Dict,
    gym.spaces.Tuple,
)


def kind_of(space):
    """Which of Gymnasium's spaces that have an encoding a space is, or derives from: 'Box', 'Dict', ...; None for any other."""
    return next((kind.__name__ for kind in KINDS if isinstance(space, kind)), None)


def parts_of(space):
    """{key or number: part} of a Dict or a Tuple; of any other space, none."""
    return {"Dict": lambda: dict(space.spaces), "Tuple": lambda: dict(enumerate(space.spaces))}.get(
        kind_of(space), dict
    )()


def _numbers(x):
    """A bound as one number where it is the same everywhere: an image's would be 28,224 of them."""
    x = np.asarray(x)
    return x.flat[0].item() if x.size and (x == x.flat[0]).all() else x.tolist()


def to_json(space):
    """A JSON-able description of a space, or of the one of Gymnasium's that it derives from.

    Raises:
        UserError: if it has no such description, or one that would not be read back.
    """
    described = _described(space)
    if len(list(itertools.islice(_nodes(described), MAX_PARTS + 1))) > MAX_PARTS:
        raise UserError(
            f"space {describe_space(space)} has more than {MAX_PARTS:,} parts, which are not read back; put some of them together in a Box"
        )
    return described


def _described(space, depth=0):
    if depth > MAX_DEPTH:
        raise UserError(
            f"a Dict or Tuple more than {MAX_DEPTH} deep in others is not read back, as here {describe_space(space)}; put its parts side by side"
        )
    kind = kind_of(space)
    match kind:
        case "Box":
            if space.dtype.name not in DTYPES:
                raise UserError(
                    f"space {describe_space(space)} is of {space.dtype.name}, which no file has; use float64"
                )
            return {
                "kind": kind,
                "shape": list(space.shape),
                "dtype": space.dtype.name,
                "low": _numbers(space.low),
                "high": _numbers(space.high),
            }
        case "Discrete":
            return {"kind": kind, "n": int(space.n), "start": int(space.start), **_own_dtype(space)}
        case "MultiDiscrete":
            return {"kind": kind, "nvec": space.nvec.tolist(), "start": space.start.tolist(), **_own_dtype(space)}
        case "MultiBinary":
            return {"kind": kind, "n": space.n if isinstance(space.n, int) else list(space.shape)}
        case "Dict":
            return {
                "kind": kind,
                "spaces": [[_key(key), _described(part, depth + 1)] for key, part in space.spaces.items()],
            }
        case "Tuple":
            return {"kind": kind, "spaces": [_described(part, depth + 1) for part in space.spaces]}
    raise UserError(
        f"space {describe_space(space)} cannot be saved; use Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple"
    )


def _own_dtype(space):
    """{"dtype": name} of a space of choices, where it is not the usual one: files are then as they have always been."""
    return {} if space.dtype == np.int64 else {"dtype": space.dtype.name}


def _key(key):
    """A Dict's key as JSON has it, with its type: a tuple is a list.

    Raises:
        UserError: if it is no text, number, truth value, None or tuple of such.
    """
    if isinstance(key, tuple):
        return [_key(part) for part in key]
    if isinstance(key, np.generic):
        key = key.item()
    if type(key) in (bool, int, str, type(None)) or type(key) is float and math.isfinite(key):
        return key
    raise UserError(
        f"a Dict's key {safe_repr(key)} is of type {type(key).__name__}, which no file has; use text or an int"
    )


def _key_of(data):
    """The key that `_key` described."""
    if isinstance(data, list):
        return tuple(_key_of(part) for part in data)
    if not isinstance(data, (bool, int, float, str, type(None))):
        raise TypeError("no key")
    return data


def _nodes(data, depth=0):
    """A description and those of all its parts, before anything is made of them."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    yield data
    if data["kind"] in ("Dict", "Tuple"):
        for part in data["spaces"]:
            if data["kind"] == "Dict":
                key, part = part
                _key_of(key)
            yield from _nodes(part, depth + 1)


def _entries(data):
    """How many numbers an observation of the described space is encoded as."""
    match data["kind"]:
        case "Box":
            return _product("shape", data["shape"])
        case "Discrete":
            return check_int("n", data["n"], 1)
        case "MultiDiscrete":
            return sum(_whole_numbers(data["nvec"]).ravel().tolist())
        case "MultiBinary":
            return _product("n", data["n"] if isinstance(data["n"], list) else [data["n"]], 1)
        case "Dict" | "Tuple":
            return 0
    raise ValueError("no such kind")


def _product(name, shape, low=0):
    if len(shape) > MAX_RANK:
        raise ValueError(f"{name} of rank {len(shape)}")
    return math.prod(check_int(name, n, low) for n in shape)


def _whole_numbers(x):
    """Nested lists of ints as an array."""
    x = np.asarray(x)
    if x.dtype.kind != "i":
        raise TypeError(f"{x.dtype} where ints are due")
    return x


def _bound(data, dtype, shape):
    """A Box's bound as an array."""
    kind = np.asarray(data).dtype.kind
    if kind not in "iuf" and not kind == dtype.kind == "b":
        raise TypeError(f"{np.asarray(data).dtype} where numbers are due")
    with np.errstate(all="ignore"):
        return np.broadcast_to(
            np.asarray(data, dtype), shape
        )  # not by way of an array of another dtype: uint64's greatest beside 0 is a float there


def from_json(data, room=DEFAULT_MAX_ENTRIES):
    """The space that `to_json` described.

    Args:
        room: how many entries it may have, one-hot ones counted. A file shall not describe much more than it holds.

    Raises:
        UserError: if it is no such description, or one of more entries; before anything is made of it.
    """
    try:
        nodes = list(itertools.islice(_nodes(data), MAX_PARTS + 1))
        if len(nodes) > MAX_PARTS:
            raise ValueError("too many parts")
        entries = sum(map(_entries, nodes))
        if entries <= room:
            return _build(data)
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, OverflowError, RecursionError) as error:
        raise UserError(
            f"no description of a space: {safe_repr(data)} ({error if isinstance(error, UserError) else type(error).__name__})"
        ) from error
    raise UserError(f"a space of {safe_repr(entries)} entries where there may be {room:,}: {safe_repr(data)}")


def _build(data):
    match data["kind"]:
        case "Box":
            if data["dtype"] not in DTYPES:
                raise ValueError("no such dtype")
            shape, dtype = tuple(data["shape"]), np.dtype(data["dtype"])
            low, high = (_bound(data[bound], dtype, shape) for bound in ("low", "high"))
            return gym.spaces.Box(low, high, shape, dtype.type)
        case "Discrete":
            return gym.spaces.Discrete(
                data["n"], start=check_int("start", data["start"], -INT64_MAX), dtype=_int_dtype(data)
            )
        case "MultiDiscrete":
            return gym.spaces.MultiDiscrete(
                _whole_numbers(data["nvec"]), start=_whole_numbers(data["start"]), dtype=_int_dtype(data)
            )
        case "MultiBinary":
            return gym.spaces.MultiBinary(data["n"])
        case "Dict":
            return gym.spaces.Dict([(_key_of(key), _build(part)) for key, part in data["spaces"]], sort_keys=False)
        case "Tuple":
            return gym.spaces.Tuple([_build(part) for part in data["spaces"]])


def _int_dtype(data):
    """The dtype of a described space of choices; int64, Gymnasium's own, where none is named."""
    if data.get("dtype", "int64") not in INTS:
        raise ValueError("no such dtype")
    return data.get("dtype", "int64")


def difference(a, b, bounds=True):
    """Where two spaces differ to who learns from them, in words; None: nowhere.

    They are alike if what is observed, or chosen, is encoded alike: the same kinds, shapes, numbers of choices and first ones, and the same keys in the same
    order. dtypes make no difference, nor whether a space's class is Gymnasium's or derives from it.

    Args:
        bounds: whether those of a Box count.
    """
    kind = kind_of(a)
    if kind is None or kind != kind_of(b) or a.shape != b.shape:
        return f"{describe_space(a)} and {describe_space(b)}"
    if kind in ("Dict", "Tuple"):
        parts, others = parts_of(a), parts_of(b)
        if list(parts) != list(others):
            return f"the parts {safe_repr(list(parts))} and {safe_repr(list(others))}"
        found = ((key, difference(parts[key], others[key], bounds)) for key in parts)
        return next((f"[{key!r}]{'' if what.startswith('[') else ': '}{what}" for key, what in found if what), None)
    names = {
        "Box": ("low", "high") if bounds else (),
        "Discrete": ("n", "start"),
        "MultiDiscrete": ("nvec", "start"),
        "MultiBinary": (),
    }[kind]
    for name in names:
        x, y = (np.asarray(getattr(space, name)) for space in (a, b))
        apart = np.argwhere(~np.isclose(x.astype(float), y.astype(float)) if kind == "Box" else x != y)
        if len(apart):
            where = tuple(apart[0].tolist())
            return f"{name}{list(where) if where else ''} {x[where]} and {y[where]}"
    return None


def spaces_compatible(a, b):
    """Whether observations of two spaces are encoded alike: `difference` without bounds."""
    return difference(a, b, bounds=False) is None
