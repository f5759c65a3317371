"""Gymnasium spaces as JSON and back, so that a saved policy knows what it sees and does without any code of its environment."""
import math

import gymnasium as gym
import numpy as np

from common.errors import UserError

MAX_ENTRIES = 10**8  # of a Box; a file that asks for more is no policy of anybody's


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


def from_json(data):
    """The space that `to_json` described.

    Raises:
        UserError: if it is no such description.
    """
    try:
        match data["kind"]:
            case "Box":
                shape, dtype = tuple(data["shape"]), np.dtype(data["dtype"])
                if math.prod(shape) > MAX_ENTRIES:
                    raise ValueError("too large")
                low, high = (np.broadcast_to(np.asarray(data[bound], dtype), shape) for bound in ("low", "high"))
                return gym.spaces.Box(low, high, shape, dtype.type)
            case "Discrete":
                return gym.spaces.Discrete(data["n"], start=data["start"])
            case "MultiDiscrete":
                return gym.spaces.MultiDiscrete(np.array(data["nvec"]), start=np.array(data["start"]))
            case "MultiBinary":
                return gym.spaces.MultiBinary(data["n"])
            case "Dict":
                return gym.spaces.Dict([(key, from_json(part)) for key, part in data["spaces"]], sort_keys=False)
            case "Tuple":
                return gym.spaces.Tuple([from_json(part) for part in data["spaces"]])
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, OverflowError) as error:
        raise UserError(f"no description of a space: {str(data)[:80]} ({type(error).__name__})") from error
    raise UserError(f"no description of a space: {str(data)[:80]}")
