"""Callbacks of a training: the base class with the lifecycle, and Baselines' `callback(locals, globals)`.

Every callback is called on every rank. If one rank's callback asks to stop, all ranks stop after the same iteration.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from common import tf_util
from common.errors import StopTraining, UserError
from common.formatting import safe_repr

if TYPE_CHECKING:
    from common.training.loop import TrainingLoop

NAMES = (
    "pi",
    "oldpi",
    "seg",
    "rewbuffer",
    "lenbuffer",
    "timesteps_so_far",
    "episodes_so_far",
    "iters_so_far",
    "tstart",
)
IMMEDIATE_STOP_WARNING = (
    "a callback returned True before the first iteration, so training stopped with an untrained policy. Here True "
    "means stop; return None to continue (unlike Stable-Baselines 2)."
)


class Callback:
    """Base class of callbacks. Override the methods that you need.

    The order is `on_training_start`, then `before_iteration` and `after_iteration` in turn, then `on_training_end`,
    then `close`. A callback must not change the training's arrays unless it means to change the result: one that only
    reads leaves the training bit-identical.
    """

    def on_training_start(self, training: TrainingLoop) -> None:
        """Called once, before the first iteration: the policy has its initial, restored or loaded weights."""

    def before_iteration(self, training: TrainingLoop) -> Any:
        """Called before every iteration, and once more after the last one.

        Args:
            training: the `TrainingLoop`: `pi`, `oldpi`, `rewbuffer`, `lenbuffer`, `timesteps_so_far`,
                `episodes_so_far`, `iters_so_far`, `progress`, `comm`, and the last segment, `seg`.

        Returns:
            True to stop the training here, also as an array or tensor of one bool. Raising `StopTraining` does the
            same.
        """

    def after_iteration(self, training: TrainingLoop, stats: Mapping[str, float]) -> Any:
        """Called after every iteration, before its checkpoint.

        Args:
            training: as in `before_iteration`.
            stats: {name: number}, the row of `progress.csv`. All ranks get equal values, except TimeElapsed.

        Returns:
            as `before_iteration`.
        """

    def on_training_end(self, training: TrainingLoop) -> None:
        """Called once, after the last iteration and its checkpoint. Not called if the training failed."""

    def close(self) -> None:
        """Release what the callback holds. Called once at the end, also if the training failed."""


class CallbackLocals(dict[str, Any]):
    """The `locals` of a Baselines callback: the names in `NAMES`. Any other name raises UserError."""

    def __missing__(self, name: str) -> Any:
        raise UserError(
            f"the callback reads locals[{name!r}], which does not exist; available are {', '.join(NAMES)}; "
            "take anything else from the code that calls learn()"
        )


BaselinesFunction = Callable[[dict[str, Any], dict[str, Any]], Any]
Callbacks = Union[None, Callback, BaselinesFunction, Iterable["Callbacks"]]


class BaselinesCallback(Callback):
    """Calls Baselines' `callback(locals, globals)` before every iteration.

    Args:
        function: the callback. Unlike in Baselines it may return True to stop the training.
    """

    def __init__(self, function: BaselinesFunction) -> None:
        self.function = function

    def before_iteration(self, training: TrainingLoop) -> Any:
        """Call the function. While it runs, `tf_util.save_state` saves the variables of pi."""
        with tf_util.default_variables(training.pi.get_variables()):
            answer = self.function(CallbackLocals((name, getattr(training, name)) for name in NAMES), {})
        if is_true(answer) and training.iters_so_far == 0 and training.comm.rank == 0:
            print(IMMEDIATE_STOP_WARNING, file=sys.stderr, flush=True)
        return answer


def as_callbacks(callback: Callbacks) -> list[Callback]:
    """Convert what a user passed as `callback` to a list: None, a function, a `Callback`, or a list of those.

    Raises:
        UserError: for anything else.
    """
    if callback is None:
        return []
    if isinstance(callback, (list, tuple)):
        return [one for given in callback for one in as_callbacks(given)]
    if isinstance(callback, Callback):
        return [callback]
    if not callable(callback) or isinstance(callback, type):
        raise UserError(
            f"invalid callback={callback!r}: must be a function (locals, globals), a baselines_ppo.Callback, or a list "
            "of them"
        )
    return [BaselinesCallback(callback)]


def is_true(answer: object) -> bool:
    """Whether a callback returned True: a bool, or an array or tensor of one bool. Anything else means "continue".

    Raises:
        UserError: for an array of several bools, because its meaning is ambiguous.
    """
    if isinstance(answer, (bool, np.bool_)):
        return bool(answer)
    if not hasattr(answer, "__array__"):
        return False
    try:
        x = np.asarray(answer)
    except Exception:  # a class, or a tensor of a graph or of another device
        return False
    if x.dtype != bool:
        return False
    if x.size != 1:
        raise UserError(
            f"a callback returned {safe_repr(answer)}, an array of {x.size} bools; return one bool, such as x.all() or "
            "x.any(): True stops the training"
        )
    return bool(x.item())


def wants_to_stop(calls: Iterable[Callable[[], Any]]) -> bool:
    """Call every function; return whether any of them returned True or raised `StopTraining`."""
    stop = False
    for call in calls:
        try:
            stop |= is_true(call())
        except StopTraining:
            stop = True
    return stop
