"""What is wrong with what an environment raised or returned, in the words of an `EnvError`."""

import traceback

import numpy as np

from common.dtypes import REAL_KINDS, LossyCastError, cast_checked, to_float
from common.errors import EnvError
from common.formatting import describe_space, safe_repr, truncate
from common.hints import RESUME_HINT

SEVERAL = "derive an environment that is several from gymnasium.vector.VectorEnv"
ABOVE = f"its traceback is above: mend the environment, then {RESUME_HINT}"


def raised(error, method, trace):
    """The fault of an environment whose `method`, step or reset, raised `error`.

    Args:
        trace: the traceback, from the environment inwards.
    """
    text = truncate(str(error))
    lines = traceback.format_exception(type(error), error, trace)
    return EnvError(
        f"raised {type(error).__name__} in {method}{f': {text}' if text else ''}", ABOVE, trace="".join(lines)
    )


def check_observation(ob, space):
    """An observation of a Box as an array [*space.shape] of real numbers, of any dtype.

    Raises:
        EnvironmentFault: if it is none.
    """
    try:
        x = np.asarray(ob)
    except ValueError:
        x = None  # ragged
    if x is None or x.dtype.kind not in REAL_KINDS:
        raise EnvError(
            f"returned the observation {safe_repr(ob)}, {'a ragged list' if x is None else f'of dtype {x.dtype}'}, where its space "
            f"is {describe_space(space)}",
            "return an array of that shape",
        )
    if x.shape != space.shape:
        raise of_another_shape(x.shape, space)
    if x.dtype != space.dtype and space.dtype.kind != "f":
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise EnvError(f"returned an observation that is not finite: {safe_repr(x)}")  # no integer would show it
        try:
            return cast_checked(x, space.dtype)
        except LossyCastError as error:
            raise cannot_hold(error, space) from None
    return x  # floats are rounded where they are stored; one that becomes infinite there is found with those that are


def cannot_hold(error, space):
    """The fault of an observation with a number that its space has no place for: `error`, a `LossyCastError`."""
    return EnvError(
        f"returned an observation {error}, which its space {describe_space(space)} cannot hold",
        "return what the space says, or give the space the dtype that is returned",
    )


def of_another_shape(shape, space):
    """The fault of an observation of `shape`, which is not that of its space."""
    several = f"{SEVERAL}, or " if len(shape) > 1 and shape[1:] == space.shape else ""
    return EnvError(
        f"returned an observation of shape {shape}, where its space is {describe_space(space)}",
        f"{several}return an array of that shape",
    )


def unpack_reset(result):
    """The observation among what `reset` returned.

    Raises:
        EnvironmentFault: if that is no pair.
    """
    if isinstance(result, tuple) and len(result) == 2:
        return result[0]
    raise EnvError(
        f"returned {safe_repr(result)} from reset, where Gymnasium has a pair: observation, info",
        "return both, or wrap an environment of old Gym with shimmy",
    )


def check_done_flags(terminated, truncated):
    """Raises EnvironmentFault unless both can be taken for True or False: bools, numbers and None, but no text, of which "False" would be True."""
    for name, end in (("terminated", terminated), ("truncated", truncated)):
        if end is not None and (np.ndim(end) or np.asarray(end).dtype.kind not in REAL_KINDS):
            raise EnvError(f"returned {name}={safe_repr(end)}, which is neither True nor False", "return a bool")


def diagnose_step(result, space, error):
    """The fault of an environment whose step returned `result`, which could not be taken in: `error`."""
    if not isinstance(result, tuple) or len(result) != 5:
        return EnvError(
            f"returned {safe_repr(result)} from step, where Gymnasium has five things: observation, reward, terminated, truncated, info",
            "return all five, or wrap an environment of old Gym with shimmy",
        )
    ob, rew, *ends, _ = result
    try:
        to_float(rew)
    except Exception:  # whatever a class makes of a wish for a float
        several = f"{SEVERAL}, or " if np.size(rew) > 1 else ""
        return EnvError(f"returned the reward {safe_repr(rew)}, which is no number", f"{several}return a float")
    try:
        check_done_flags(*ends)
    except EnvError as fault:
        return fault
    if space.shape is not None and np.shape(ob) != space.shape:
        return of_another_shape(np.shape(ob), space)
    return EnvError(f"returned from step what cannot be taken in ({type(error).__name__}: {truncate(str(error))})")
