"""The errors a user can cause, and how a run is asked to stop."""


class UserError(ValueError):
    """A wrong setting, file or environment. Its text is one line: the value, the limit, the fix. The command line exits with 2."""


class StopTraining(Exception):
    """Raised by a callback to end the run, on all ranks, after the current iteration."""
