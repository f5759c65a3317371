"""Errors that end a run, and how a run is asked to stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from common.hints import RESUME_HINT

if TYPE_CHECKING:
    import numpy as np

# `timeout`, batch systems and shells signal the process and its process group, so one request arrives twice
SIGNAL_DEBOUNCE_SECONDS = 0.5


class UserError(ValueError):
    """An invalid setting or file. Its text is one line: value, limit, fix. The command line exits with 2."""


class UnreadableFileError(UserError):
    """A file that cannot be read now, or that another version wrote. It may be intact and must not be replaced."""


class StopTraining(Exception):
    """Raised by a callback to end the run, on all ranks, after the current iteration."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C has ended a `learn` called from Python, after its iteration and with all its files written.

    Args:
        text: one line.
        pi: the policy (a `Policy`).

    Attributes:
        pi: the policy as trained so far.
    """

    def __init__(self, text: str, pi: Any):
        super().__init__(text)
        self.pi = pi


class EnvError(RuntimeError):
    """An environment raised an exception, died, or returned something that cannot be used for training.

    The command line exits with 1. The text is one line: which environment, what, when, the fix. Callers of the code
    that failed add what they know by `add_context`, as by `add_note` (PEP 678).

    Args:
        description: what the environment did, such as "returned the reward None, which is not a number".
        hint: how to fix it.
        trace: the traceback of the environment's exception, as text; None if it raised none.
        context: see `add_context`.

    Attributes:
        description, hint, trace: as above.
        source: name of an environment without a number.
        environment: number of the environment in this rank.
        env_id: its Gymnasium id.
        position: such as "at step 3 of the segment".
        iteration: of the run.
    """

    def __init__(
        self,
        description: str,
        hint: str = f"nothing can be learned from it: fix the environment, then {RESUME_HINT}",
        *,
        trace: str | None = None,
        **context: Any,
    ):
        super().__init__(description, hint)
        self.description = description
        self.hint = hint
        self.trace = trace
        self.source: str | None = None
        self.environment: int | None = None
        self.env_id: str | None = None
        self.position: str | None = None
        self.iteration: int | None = None
        self.add_context(**context)

    def add_context(
        self,
        *,
        source: str | None = None,
        environment: int | None = None,
        env_id: str | None = None,
        position: str | None = None,
        iteration: int | None = None,
    ) -> EnvError:
        """Set the attributes that are not set yet; the code closest to the fault knows best. Returns the error."""
        self.source = source if self.source is None else self.source
        self.environment = environment if self.environment is None else self.environment
        self.env_id = env_id if self.env_id is None else self.env_id
        self.position = position if self.position is None else self.position
        self.iteration = iteration if self.iteration is None else self.iteration
        return self

    def offset_environment(self, first: int) -> EnvError:
        """Add the number of a group's first environment to a number within the group. Returns the error."""
        if self.environment is not None:
            self.environment += first
        return self

    def describe(self, hint: str) -> str:
        """Return the error's text with another hint."""
        numbered = "an environment" if self.environment is None else f"environment {self.environment}"
        env_id = f" ({self.env_id})" if self.env_id else ""
        position = f", {self.position}" if self.position else ""
        iteration = "" if self.iteration is None else f" of iteration {self.iteration}"
        text = f"{self.source or numbered}{env_id} {self.description}{position}{iteration}; {hint}"
        return " ".join(text.split())

    def __str__(self) -> str:
        return self.describe(self.hint)


class NonFiniteError(FloatingPointError):
    """A loss, a gradient, a parameter or an action is NaN or infinite. The command line exits with 1.

    The text is one line: what and where, the cause, the fix, and the file with the details.

    Args:
        description: such as "loss_vf_loss is inf in minibatch 3 of epoch 0".
        hint: how to fix it.
        cause: such as "where a value target is inf".
        arrays: {name: array} for the post-mortem file, on rank 0.
        facts: {name: JSON value} for the post-mortem file.
        on_all_ranks: whether all ranks raise it together.

    Attributes:
        description, hint, cause, arrays, facts, on_all_ranks: as above.
        iteration: of the run, once known.
        dump_path: what is known of the post-mortem file, once it has been written.
    """

    def __init__(
        self,
        description: str,
        hint: str = "take a smaller step size, or check the environment's rewards",
        cause: str = "",
        arrays: Mapping[str, np.ndarray] | None = None,
        facts: Mapping[str, Any] | None = None,
        on_all_ranks: bool = True,
    ):
        super().__init__(description, hint, cause)
        self.description = description
        self.hint = hint
        self.cause = cause
        self.arrays = dict(arrays or {})
        self.facts = dict(facts or {})
        self.on_all_ranks = on_all_ranks
        self.iteration: int | None = None
        self.dump_path: str | None = None

    def add_context(self, *, iteration: int | None = None, dump_path: str | None = None) -> NonFiniteError:
        """Set the attributes that are not set yet. Returns the error."""
        self.iteration = iteration if self.iteration is None else self.iteration
        self.dump_path = dump_path if self.dump_path is None else self.dump_path
        return self

    def __str__(self) -> str:
        iteration = "" if self.iteration is None else f" of iteration {self.iteration}"
        cause = f", {self.cause}" if self.cause else ""
        dump_path = f"; {self.dump_path}" if self.dump_path else ""
        return " ".join(f"{self.description}{iteration}{cause}; {self.hint}{dump_path}".split())
