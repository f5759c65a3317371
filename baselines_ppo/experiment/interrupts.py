"""Ctrl-C during a `learn` that was called from Python: training ends after its iteration and writes its files."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from common.errors import Interrupted
from common.loggers.console import ProgressDisplay, write_to_stderr
from common.runtime.stop_signals import StopSignals, raise_keyboard_interrupt

if TYPE_CHECKING:
    from common.training.loop import TrainingLoop

INTERRUPTED = "interrupted"  # `stop_requested` of a `TrainingLoop` that Ctrl-C stops, on all ranks
STOPPING = "stopping: learn will finish its iteration; press Ctrl-C again to stop immediately"


class CtrlC(StopSignals):
    """Context manager in which the first SIGINT asks a training to stop, and a later one raises KeyboardInterrupt.

    It handles SIGINT only where Python's default handler would, which raises KeyboardInterrupt at any point. A handler
    of the user or of the command line stays, as does any handler outside of the main thread, which cannot set one. A
    `learn` in a callback of another one handles SIGINT itself.

    Args:
        training: the `TrainingLoop`.
    """

    def __init__(self, training: TrainingLoop) -> None:
        super().__init__([signal.SIGINT], self._request_stop, raise_keyboard_interrupt)
        self.training = training

    def install(self) -> None:
        """Handle SIGINT, if Python's default handler or an outer `learn` handles it."""
        if threading.current_thread() is not threading.main_thread():
            return
        handler = signal.getsignal(signal.SIGINT)
        if handler is signal.default_int_handler or isinstance(getattr(handler, "__self__", None), CtrlC):
            super().install()

    def restore(self) -> None:
        """Set the previous handler, unless a callback has set another one since."""
        if signal.getsignal(signal.SIGINT) == self.handle:
            super().restore()

    def _request_stop(self, number: int) -> None:
        self.training.request_stop(INTERRUPTED)
        if self.training.comm.rank == 0:
            outputs = getattr(self.training.logger, "outputs", ())
            displays = [output for output in outputs if isinstance(output, ProgressDisplay)]
            (displays[0].notify if displays else write_to_stderr)(STOPPING)


@contextlib.contextmanager
def stop_on_ctrl_c(training: TrainingLoop, context: AbstractContextManager) -> Iterator[TrainingLoop]:
    """Context manager for a training that Ctrl-C may stop.

    Args:
        training: the `TrainingLoop`.
        context: the inner context manager, which writes the files of the run.

    Raises:
        Interrupted: after `context` has ended, if Ctrl-C has stopped the training.
    """
    with CtrlC(training) as ctrl_c:
        with context:
            yield training
        if ctrl_c.received or training.stop_requested == INTERRUPTED:
            location = (
                f", and in {training.folder.path}; load_policy and learn(load_path=...) can read it"
                if training.folder is not None
                else ""
            )
            raise Interrupted(
                f"Ctrl-C stopped learn after {training.iters_so_far:,} iterations, "
                f"{training.timesteps_so_far:,} steps; the policy is this exception's pi{location}",
                training.pi,
            )
