"""What a run calls between its iterations, on every rank: typed callbacks, and Baselines' `callback(locals, globals)`."""
import numpy as np

from common.errors import StopTraining, UserError


class Callback:
    """Derive from it, and define what you need. Every method is called on every rank; what one of them decides ends the run on all."""

    def before_iteration(self, training):
        """Called before every iteration.

        Args:
            training: the `common.training.Training`: `pi`, `oldpi`, `rewbuffer`, `lenbuffer`, `timesteps_so_far`, `episodes_so_far`,
                `iters_so_far`, `progress`, `comm`, and the last segment, `seg`.

        Returns:
            True to end the run here; raising `StopTraining` does the same.
        """

    def after_iteration(self, training, stats):
        """Called after every iteration, before its checkpoint.

        Args:
            training: as above.
            stats: {name: number}, the row of `progress.csv`: the same on all ranks but for TimeElapsed.

        Returns:
            as above.
        """


class BaselinesCallback(Callback):
    """Baselines' `callback(locals, globals)`: before every iteration, with a dict of the names that its users read.

    Args:
        function: the callback; unlike Baselines' it may also return True to end the run.
    """

    NAMES = ("pi", "oldpi", "seg", "rewbuffer", "lenbuffer", "timesteps_so_far", "episodes_so_far", "iters_so_far", "tstart")

    def __init__(self, function):
        self.function = function

    def before_iteration(self, training):
        return self.function({name: getattr(training, name) for name in self.NAMES}, {})


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
        raise UserError(f"callback={callback!r} is no callback; give a function (locals, globals), a baselines_ppo.Callback, or a list of them")
    return [BaselinesCallback(callback)]


def wants_to_stop(calls):
    """Whether any of the functions () -> object returns True, NumPy's included, or raises `StopTraining`; all of them are called."""
    stop = False
    for call in calls:
        try:
            answer = call()
            stop |= isinstance(answer, (bool, np.bool_)) and bool(answer)
        except StopTraining:
            stop = True
    return stop
