"""The errors a user can cause, what may go wrong in the middle of a run, and how a run is asked to stop."""

from common.hints import RESUME_HINT

SIGNAL_DEBOUNCE_SECONDS = 0.5  # seconds; `timeout`, batch systems and shells send theirs to the process and to its group, which is not to ask twice


class UserError(ValueError):
    """A wrong setting or file. Its text is one line: the value, the limit, the fix. The command line exits with 2."""


class UnreadableFileError(UserError):
    """A file that cannot be read here and now, or that another version wrote: it may be whole, and nothing shall take its place."""


class StopTraining(Exception):
    """Raised by a callback to end the run, on all ranks, after the current iteration."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C has ended a `learn` that was called from Python: after its iteration, and with all that it writes written.

    Args:
        text: one line.
        pi: the policy.

    Attributes:
        pi: the policy, trained as far as it came.
    """

    def __init__(self, text, pi):
        super().__init__(text)
        self.pi = pi


class EnvError(RuntimeError):
    """An environment that has raised something, died, or returned what nothing can be learned from. The command line exits with 1.

    Its text is one line: which environment, what, when, the fix. Whoever knows one of the attributes fills it in as the error passes.

    Args:
        what: "returned the reward None, which is no number".
        fix: what to do.

    Attributes:
        who: the environment's name where it has no number.
        environment: its number in this rank.
        env_id: its Gymnasium id.
        when: "at step 3 of the segment".
        iteration: of the run.
        trace: the traceback of what was raised, lines of text; None where nothing was.
    """

    def __init__(self, what, fix=f"nothing can be learned from it: mend the environment, then {RESUME_HINT}"):
        super().__init__(what, fix)
        self.what, self.fix = what, fix
        self.who = self.environment = self.env_id = self.when = self.iteration = self.trace = None

    def __str__(self):
        who = self.who or ("an environment" if self.environment is None else f"environment {self.environment}")
        about = f" ({self.env_id})" if self.env_id else ""
        when = f", {self.when}" if self.when else ""
        when += "" if self.iteration is None else f" of iteration {self.iteration}"
        text = f"{who}{about} {self.what}{when}; {self.fix}"
        return " ".join(text.split())


class NonFiniteError(FloatingPointError):
    """A loss, a gradient, a parameter or an action that is not finite. The command line exits with 1.

    Its text is one line: what it was and where, the fix, and where the post-mortem is.

    Args:
        what: "loss_vf_loss is inf in minibatch 3 of epoch 0".
        fix: what to do.
        why: "where a value target is inf".
        arrays: {name: array} for the post-mortem, on rank 0.
        facts: {name: JSON-able} for it.

    Attributes:
        iteration: of the run.
        shared: whether all ranks raise it together.
        left: where the post-mortem is; None where there is none.
    """

    def __init__(
        self,
        what,
        fix="take a smaller step size, or look at the environment's rewards",
        why="",
        arrays=None,
        facts=None,
    ):
        super().__init__(what, fix, why)
        self.what, self.fix, self.why, self.arrays, self.facts = what, fix, why, arrays or {}, facts or {}
        self.iteration, self.left, self.shared = None, None, True

    def __str__(self):
        where = "" if self.iteration is None else f" of iteration {self.iteration}"
        left = f"; {self.left}" if self.left else ""
        why = f", {self.why}" if self.why else ""
        return " ".join(f"{self.what}{where}{why}; {self.fix}{left}".split())
