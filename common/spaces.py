"""Gymnasium spaces as JSON and back, so that a saved policy knows what it sees and does without any code of its environment."""
import itertools
import math

import gymnasium as gym
import numpy as np

from common.checks import BIGGEST, shown, whole
from common.errors import UserError

FEW = 10**6  # entries that any file may describe: some 20 MB
MAX_PARTS, MAX_DEPTH, MAX_RANK = 1000, 16, 32  # of Dicts and Tuples; of a Box's shape
DTYPES = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float16", "float32", "float64")


def in_one_line(space):
    """A space's text, on one line and not too long: for errors."""
    text = " ".join(str(space).split())
    return text if len(text) <= 120 else f"{text[:117]}..."


def _numbers(x):
    """A bound as one number where it is the same everywhere: an image's would be 28,224 of them."""
    x = np.asarray(x)
    return x.flat[0].item() if x.size and (x == x.flat[0]).all() else x.tolist()


def to_json(space):
    """A JSON-able description of a space."""
    kind = type(space).__name__
    match space:
        case gym.spaces.Box():
            return {"kind": kind, "shape": list(space.shape), "dtype": str(space.dtype), "low": _numbers(space.low), "high": _numbers(space.high)}
        case gym.spaces.Discrete():
            return {"kind": kind, "n": int(space.n), "start": int(space.start)}
        case gym.spaces.MultiDiscrete():
            return {"kind": kind, "nvec": space.nvec.tolist(), "start": space.start.tolist()}
        case gym.spaces.MultiBinary():
            return {"kind": kind, "n": space.n if isinstance(space.n, int) else list(space.shape)}
        case gym.spaces.Dict():
            return {"kind": kind, "spaces": [[key, to_json(part)] for key, part in space.spaces.items()]}
        case gym.spaces.Tuple():
            return {"kind": kind, "spaces": [to_json(part) for part in space.spaces]}
    raise UserError(f"space {in_one_line(space)} cannot be saved; use Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple")


def _nodes(data, depth=0):
    """A description and those of all its parts, before anything is made of them."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    yield data
    if data["kind"] in ("Dict", "Tuple"):
        for part in data["spaces"]:
            if data["kind"] == "Dict":
                key, part = part
                if not isinstance(key, str):
                    raise TypeError("a key that is no text")
            yield from _nodes(part, depth + 1)


def _entries(data):
    """How many numbers an observation of the described space is encoded as."""
    match data["kind"]:
        case "Box":
            return _product("shape", data["shape"])
        case "Discrete":
            return whole("n", data["n"], 1)
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
    return math.prod(whole(name, n, low) for n in shape)


def _whole_numbers(x):
    """Nested lists of ints as an array."""
    x = np.asarray(x)
    if x.dtype.kind != "i":
        raise TypeError(f"{x.dtype} where ints are due")
    return x


def _bound(x, dtype, shape):
    """A Box's bound as an array."""
    x = np.asarray(x)
    if x.dtype.kind not in "iuf" and not x.dtype.kind == dtype.kind == "b":
        raise TypeError(f"{x.dtype} where numbers are due")
    with np.errstate(all="ignore"):
        return np.broadcast_to(np.asarray(x.tolist(), dtype), shape)


def from_json(data, room=FEW):
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
            return _built(data)
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, OverflowError, RecursionError) as error:
        raise UserError(f"no description of a space: {shown(data)} ({error if isinstance(error, UserError) else type(error).__name__})") from error
    raise UserError(f"a space of {shown(entries)} entries where there may be {room:,}: {shown(data)}")


def _built(data):
    match data["kind"]:
        case "Box":
            if data["dtype"] not in DTYPES:
                raise ValueError("no such dtype")
            shape, dtype = tuple(data["shape"]), np.dtype(data["dtype"])
            low, high = (_bound(data[bound], dtype, shape) for bound in ("low", "high"))
            return gym.spaces.Box(low, high, shape, dtype.type)
        case "Discrete":
            return gym.spaces.Discrete(data["n"], start=whole("start", data["start"], -BIGGEST))
        case "MultiDiscrete":
            return gym.spaces.MultiDiscrete(_whole_numbers(data["nvec"]), start=_whole_numbers(data["start"]))
        case "MultiBinary":
            return gym.spaces.MultiBinary(data["n"])
        case "Dict":
            return gym.spaces.Dict([(key, _built(part)) for key, part in data["spaces"]], sort_keys=False)
        case "Tuple":
            return gym.spaces.Tuple([_built(part) for part in data["spaces"]])


def same_layout(a, b):
    """Whether observations of two spaces are encoded alike: a Box may have other bounds, nothing else may differ."""
    if type(a) is not type(b):
        return False
    match a:
        case gym.spaces.Box():
            return a.shape == b.shape
        case gym.spaces.Dict():
            return list(a.spaces) == list(b.spaces) and all(same_layout(a[key], b[key]) for key in a.spaces)
        case gym.spaces.Tuple():
            return len(a.spaces) == len(b.spaces) and all(map(same_layout, a.spaces, b.spaces))
    return a == b
