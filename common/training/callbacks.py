"""What a run calls between its iterations, on every rank: typed callbacks, and Baselines' `callback(locals, globals)`."""

import sys

import numpy as np

from common import tf_util
from common.errors import StopTraining, UserError
from common.formatting import safe_repr

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
    "a callback has returned True before the first iteration, which ends the run with an untrained policy; True stops: return None, where "
    "Stable-Baselines 2 took True for going on"
)


class Callback:
    """Derive from it, and define what you need. Every method is called on every rank; what one of them decides ends the run on all."""

    def before_iteration(self, training):
        """Called before every iteration.

        Args:
            training: the `common.training.loop.TrainingLoop`: `pi`, `oldpi`, `rewbuffer`, `lenbuffer`, `timesteps_so_far`, `episodes_so_far`,
                `iters_so_far`, `progress`, `comm`, and the last segment, `seg`.

        Returns:
            True to end the run here, also as an array or tensor of one bool; raising `StopTraining` does the same.
        """

    def after_iteration(self, training, stats):
        """Called after every iteration, before its checkpoint.

        Args:
            training: as above.
            stats: {name: number}, the row of `progress.csv`: the same on all ranks but for TimeElapsed.

        Returns:
            as above.
        """


class CallbackLocals(dict):
    """What a callback gets for `locals()`: the names that Baselines' users read. UserError for any other."""

    def __missing__(self, name):
        raise UserError(
            f"the callback reads locals[{name!r}], which is not there; there are {', '.join(NAMES)}; "
            "take what else it needs from where learn() is called"
        )


class BaselinesCallback(Callback):
    """Baselines' `callback(locals, globals)`: before every iteration, with a dict of the names that its users read.

    Args:
        function: the callback; unlike Baselines' it may also return True to end the run.
    """

    def __init__(self, function):
        self.function = function

    def before_iteration(self, training):
        """Call the function; in it `tf_util`'s `save_state` means pi."""
        with tf_util.standing_for_all(training.pi.get_variables()):
            answer = self.function(CallbackLocals((name, getattr(training, name)) for name in NAMES), {})
        if is_true(answer) and training.iters_so_far == 0 and training.comm.rank == 0:
            print(IMMEDIATE_STOP_WARNING, file=sys.stderr, flush=True)
        return answer


def as_callbacks(callback):
    """A list of `Callback`s of what a user gave: None, a function, a `Callback`, or a list of those.

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
            f"callback={callback!r} is no callback; give a function (locals, globals), a baselines_ppo.Callback, or a list of them"
        )
    return [BaselinesCallback(callback)]


def is_true(answer):
    """Whether a callback's answer is True: a bool, or an array or tensor of one. Baselines' callbacks return whatever they like, which goes on.

    Raises:
        UserError: for an array of several bools, of which nobody knows whether it should end the run.
    """
    if isinstance(answer, (bool, np.bool_)):
        return bool(answer)
    if not hasattr(answer, "__array__"):
        return False
    try:
        x = np.asarray(answer)
    except Exception:  # a class, a tensor of a graph or of another device
        return False
    if x.dtype != bool:
        return False
    if x.size != 1:
        raise UserError(
            f"a callback has returned {safe_repr(answer)}, {x.size} bools; return one, such as x.all() or x.any(): True ends the run"
        )
    return bool(x.item())


def wants_to_stop(calls):
    """Whether any of the functions () -> object returns True or raises `StopTraining`; all of them are called."""
    stop = False
    for call in calls:
        try:
            stop |= is_true(call())
        except StopTraining:
            stop = True
    return stop
