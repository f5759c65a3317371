"""Ctrl-C while a `learn` that was called from Python is under way: it ends after its iteration, with all that it writes, and the policy is not lost."""

import contextlib
import signal
import threading
import time

from common.errors import SIGNAL_DEBOUNCE_SECONDS, Interrupted
from common.loggers.console import ProgressDisplay, write_to_stderr

INTERRUPTED = "interrupted"  # why a `TrainingLoop` stops, on all ranks
STOPPING = "stopping: learn will finish its iteration; once more, and it ends at once"


class CtrlC:
    """A context in which the first SIGINT asks a training to stop; one that comes later than `SIGNAL_DEBOUNCE_SECONDS` ends it at once, by KeyboardInterrupt.

    Only where Python's own handler would be called, which raises KeyboardInterrupt wherever it is: one of the user's, or of the command line, stays as it
    is. So it does outside the main thread, which alone sets handlers. A `learn` in the callback of another has it in turn.

    Args:
        training: the `TrainingLoop`.

    Attributes:
        asked: whether there was one.
    """

    def __init__(self, training):
        self.training, self.asked, self.first, self.before = training, False, None, None

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if before is signal.default_int_handler or isinstance(getattr(before, "__self__", None), CtrlC):
                self.before = signal.signal(signal.SIGINT, self.note)
        return self

    def note(self, number, frame):
        """The handler."""
        if self.asked:
            if time.monotonic() - self.first > SIGNAL_DEBOUNCE_SECONDS:
                signal.default_int_handler(number, frame)
            return
        self.asked, self.first = True, time.monotonic()
        self.training.request_stop(INTERRUPTED)
        if self.training.comm.rank == 0:
            shown = [one for one in getattr(self.training.logger, "outputs", ()) if isinstance(one, ProgressDisplay)]
            (shown[0].notify if shown else write_to_stderr)(STOPPING)

    def __exit__(self, *exception):
        if self.before is not None and signal.getsignal(signal.SIGINT) == self.note:
            signal.signal(signal.SIGINT, self.before)


@contextlib.contextmanager
def in_good_order(training, context):
    """A block in which a `TrainingLoop` goes on, inside another `context` of it, which writes what there is to write.

    Raises:
        Interrupted: behind that, if Ctrl-C has ended it.
    """
    with CtrlC(training) as ctrl_c:
        with context:
            yield training
        if ctrl_c.asked or training.stop_requested == INTERRUPTED:
            kept = (
                f", and in {training.folder.path}, from which load_policy and learn(load_path=...) take it"
                if training.folder is not None
                else ""
            )
            raise Interrupted(
                f"Ctrl-C has ended learn after {training.iters_so_far:,} iterations, {training.timesteps_so_far:,} steps; "
                f"the policy is in this exception's pi{kept}",
                training.pi,
            )
