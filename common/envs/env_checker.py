"""Explains what is wrong with what an environment raised or returned, as an `EnvError`."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any

import gymnasium as gym
import numpy as np

from common.dtypes import REAL_KINDS, LossyCastError, cast_checked, to_float
from common.errors import EnvError
from common.formatting import describe_space, safe_repr, truncate
from common.hints import RESUME_HINT

VECTOR_ENV_HINT = "derive an environment with several instances from gymnasium.vector.VectorEnv"
TRACEBACK_HINT = f"its traceback is above: fix the environment, then {RESUME_HINT}"
OLD_GYM_HINT = "return all five, or wrap an environment of old Gym with shimmy"


def from_exception(error: BaseException, method: str, trace: TracebackType | None) -> EnvError:
    """Return the error of an environment whose `method` ('step', 'reset', ...) raised `error`.

    Args:
        error: the exception.
        method: name of the method.
        trace: the traceback, from the environment inwards.
    """
    text = truncate(str(error))
    lines = traceback.format_exception(type(error), error, trace)
    message = f"raised {type(error).__name__} in {method}{f': {text}' if text else ''}"
    return EnvError(message, TRACEBACK_HINT, trace="".join(lines))


def check_observation(ob: Any, space: gym.spaces.Box) -> np.ndarray:
    """Return an observation of a Box as an array [*space.shape] of real numbers of any dtype.

    Floats are rounded where they are stored; one that becomes infinite there is reported with other non-finite numbers.

    Raises:
        EnvError: if it is not an observation of the space.
    """
    try:
        x = np.asarray(ob)
    except ValueError:
        x = None  # ragged
    if x is None or x.dtype.kind not in REAL_KINDS:
        raise EnvError(
            f"returned the observation {safe_repr(ob)}, {'a ragged list' if x is None else f'of dtype {x.dtype}'}, but "
            f"its space is {describe_space(space)}",
            "return an array of that shape",
        )
    if x.shape != space.shape:
        raise wrong_shape(x.shape, space)
    if x.dtype != space.dtype and space.dtype.kind != "f":
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise EnvError(f"returned an observation that is not finite: {safe_repr(x)}")  # an integer cannot show it
        try:
            return cast_checked(x, space.dtype)
        except LossyCastError as error:
            raise lossy_observation(error, space) from None
    return x


def lossy_observation(error: LossyCastError, space: gym.Space) -> EnvError:
    """Return the error of an observation with a number that its space's dtype cannot represent."""
    return EnvError(
        f"returned an observation {error}, which its space {describe_space(space)} cannot hold",
        "return values of the space, or give the space the dtype that is returned",
    )


def wrong_shape(shape: tuple[int, ...], space: gym.Space) -> EnvError:
    """Return the error of an observation whose shape is not that of its space."""
    is_batch = len(shape) > 1 and shape[1:] == space.shape
    return EnvError(
        f"returned an observation of shape {shape}, but its space is {describe_space(space)}",
        f"{f'{VECTOR_ENV_HINT}, or ' if is_batch else ''}return an array of that shape",
    )


def unpack_reset(result: Any) -> Any:
    """Return the observation of what `reset` returned.

    Raises:
        EnvError: if that is not a pair.
    """
    if isinstance(result, tuple) and len(result) == 2:
        return result[0]
    raise EnvError(
        f"returned {safe_repr(result)} from reset, but Gymnasium expects a pair: observation, info",
        "return both, or wrap an environment of old Gym with shimmy",
    )


def check_done_flags(terminated: Any, truncated: Any) -> None:
    """Check that both are bools, numbers or None. Text is refused, because "False" would be true.

    Raises:
        EnvError: for anything else.
    """
    for name, end in (("terminated", terminated), ("truncated", truncated)):
        if end is not None and (np.ndim(end) or np.asarray(end).dtype.kind not in REAL_KINDS):
            raise EnvError(f"returned {name}={safe_repr(end)}, which is neither True nor False", "return a bool")


def diagnose_step(result: Any, space: gym.Space, error: BaseException) -> EnvError:
    """Return the error of an environment whose step returned `result`, which could not be used because of `error`."""
    if not isinstance(result, tuple) or len(result) != 5:
        return EnvError(
            f"returned {safe_repr(result)} from step, but Gymnasium expects five values: observation, reward, "
            "terminated, truncated, info",
            OLD_GYM_HINT,
        )
    ob, rew, *ends, _ = result
    try:
        to_float(rew)
    except Exception:  # a class may raise anything when it is converted
        several = f"{VECTOR_ENV_HINT}, or " if np.size(rew) > 1 else ""
        return EnvError(f"returned the reward {safe_repr(rew)}, which is not a number", f"{several}return a float")
    try:
        check_done_flags(*ends)
    except EnvError as fault:
        return fault
    if space.shape is not None and np.shape(ob) != space.shape:
        return wrong_shape(np.shape(ob), space)
    return EnvError(f"returned an unusable result from step ({type(error).__name__}: {truncate(str(error))})")
