"""One rank's part in a run, from its start to its end: the ranks, the watch, what is open, and the one door for what fails."""

import atexit
import contextlib
import os
import sys
import time

from baselines_ppo.cli.command_lines import resume_command
from baselines_ppo.cli.errors import format_error
from common.distributed.exit_guard import ROOT_REPORTS_FIRST_SECONDS, print_stderr_bounded
from common.distributed.heartbeat import Heartbeat
from common.distributed.watchdog import Watchdog
from common.hints import in_flags
from common.runtime.crash_stacks import stacks
from common.runtime.thread_pool import force_exit_when_overdue


class Job:
    """What a run has as long as it lasts.

    Args:
        comm: the ranks.
        stall_timeout: seconds (`Watchdog`).

    Attributes:
        heartbeat, watchdog: this rank's, which run from the first line to the last.
        opened: an `ExitStack` of what is closed at the end, whatever that is.
        folder: the `RunDirectory` that is given back after that; None until it is claimed.
        spare: an open file to close where no more can be opened, so that what is left of the run can be looked at.
        logger: rank 0's, closed before anything is said; None until there is one, and on other ranks.
    """

    def __init__(self, comm, stall_timeout):
        self.comm = comm
        self.heartbeat = Heartbeat(comm).start()
        self.watchdog = Watchdog(comm, self.heartbeat, stall_timeout, translate=in_flags).start()
        self.opened, self.folder, self.logger, self.spare = contextlib.ExitStack(), None, None, open(os.devnull)
        self.end_stacks = None

    def keep_in(self, folder):
        """Have the heartbeat's record, and Python's stacks if this rank dies of a signal, in the `ranks` of a `RunDirectory`."""
        self.heartbeat.open_file(folder.path / "ranks")
        self.end_stacks = stacks.push_target(
            self.comm, folder.path / "ranks", f"go on with: {resume_command(folder.path, self.comm.size)}"
        )

    def attach_logger(self, logger):
        """Take a logger, which has the terminal as long as it is open."""
        self.logger, self.watchdog.on_abort = logger, logger.close

    def close(self):
        """Close what a run that has ended well has open, on all ranks, while the watch still looks on."""
        self.heartbeat.set_phase("closing")
        self.opened.close()
        self.comm.barrier()
        self._stop_watchdog()

    def fail(self, reason, status, trace=None):
        """The one door for a rank that fails. What fails on all ranks is said once: the others leave it to rank 0 for a second. What is open is closed,
        as far as that takes some seconds at the most: then the watch ends this rank, and says what it could not.

        Args:
            reason: one line.
            status: the exit status, which is returned where there is one rank; several never come back.
            trace: a traceback, which is shown above the reason.
        """
        reason = in_flags(" ".join(str(reason).split()))
        words = (trace or "") + (format_error(reason) if self.comm.size == 1 else self.comm.with_rank_prefix(reason))
        self.heartbeat.mark_failed(status, words)
        with contextlib.suppress(
            Exception, KeyboardInterrupt
        ):  # what ended the run is told, not what it broke on its way
            if self.logger is not None:
                self.logger.close()
        if self.comm.rank == 0:
            print_stderr_bounded(words)
            self.heartbeat.mark_failed(status)
        with contextlib.suppress(Exception, KeyboardInterrupt):
            self.opened.close()
        if self.comm.rank > 0:
            time.sleep(ROOT_REPORTS_FIRST_SECONDS)
            print_stderr_bounded(words)
        self._stop_watchdog(self.heartbeat.current_phase[0])
        if self.comm.size > 1:
            self.comm.abort(status)
        atexit.register(force_exit_when_overdue, status)
        return status

    def _stop_watchdog(self, last_phase="ended"):
        self.heartbeat.close(last_phase)
        self.watchdog.stop()

    def end(self):
        """End the watch where nothing else has, and give the folder back."""
        self._stop_watchdog()
        self.spare.close()
        if self.end_stacks is not None:
            self.end_stacks()
        if self.folder is not None:
            self.folder.release()


def close(env):
    """Close environments. One that cannot be is told: it must not hide what ended the run, nor cost the policy of one that ended well."""
    try:
        env.close()
    except Exception as error:
        print(
            f"an environment could not be closed: {type(error).__name__}: {' '.join(str(error).split())}",
            file=sys.stderr,
            flush=True,
        )
