"""Training session: what one rank has open from the start of a run to its end, and how it reports a failure."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

from baselines_ppo.cli.command_lines import resume_command
from baselines_ppo.cli.errors import PROGRAM, format_error
from common.distributed.communicator import Communicator
from common.distributed.exit_guard import ROOT_REPORTS_FIRST_SECONDS, report_failure_bounded
from common.distributed.heartbeat import Heartbeat
from common.distributed.watchdog import Watchdog
from common.hints import in_flags
from common.runs.run_directory import RunDirectory
from common.runtime.crash_stacks import stacks
from common.runtime.thread_pool import force_exit_when_overdue
from common.vec_env.in_process import InProcessVectorEnv

if TYPE_CHECKING:
    from common.loggers.logger import Logger


class TrainingSession:
    """One rank's part of a run.

    Args:
        comm: the ranks.
        stall_timeout: seconds (`Watchdog`).

    Attributes:
        heartbeat, watchdog: this rank's, which run until the session ends.
        exit_stack: what is closed at the end of the run, also after a failure.
        directory: the `RunDirectory`, which is released after that; None until it is acquired.
        logger: rank 0's `Logger`, which is closed before a failure is printed; None until it exists.
        reserve_fd: an open file; closing it makes one file descriptor available when none is left.
    """

    def __init__(self, comm: Communicator, stall_timeout: float) -> None:
        self.comm = comm
        self.heartbeat = Heartbeat(comm).start()
        self.watchdog = Watchdog(comm, self.heartbeat, stall_timeout, translate=in_flags).start()
        self.exit_stack = contextlib.ExitStack()
        self.directory: RunDirectory | None = None
        self.logger: Logger | None = None
        self.reserve_fd = open(os.devnull)
        self._stop_recording_stacks = None

    def format_message(self, text: str) -> str:
        """Return a warning as one line: with the program's name on rank 0, with rank and host on other ranks."""
        text = in_flags(" ".join(text.split()))
        return f"{PROGRAM}: {text}" if self.comm.rank == 0 else self.comm.with_rank_prefix(text)

    def record_in(self, directory: RunDirectory) -> None:
        """Record the heartbeat, and Python's stacks if a signal kills this rank, in the run's directory."""
        self.heartbeat.open_file(directory.path / "ranks")
        hint = f"resume with: {resume_command(directory.path, self.comm.size)}"
        self._stop_recording_stacks = stacks.push_target(self.comm, directory.path / "ranks", hint)

    def attach_logger(self, logger: Logger) -> None:
        """Close this logger, which may draw on the terminal, before a failure or an abort is printed."""
        self.logger = logger
        self.watchdog.on_abort = logger.close

    def close(self) -> None:
        """Close everything after a successful run, on all ranks, while the watchdog is still running."""
        self.heartbeat.set_phase("closing")
        self.exit_stack.close()
        self.comm.barrier()
        self._stop_watchdog()

    def fail(self, reason: object, status: int, trace: str | None = None) -> int:
        """Report a failure, clean up and abort the job.

        Rank 0 prints first; the other ranks wait a second so that a common error is printed once. If cleanup takes
        longer than a few seconds, the watchdog terminates the process and prints the pending message.

        Args:
            reason: the error message.
            status: the exit status.
            trace: a traceback, which is printed before the message.

        Returns:
            The exit status, if there is one rank. With several ranks the process ends here.
        """
        reason = in_flags(" ".join(str(reason).split()))
        line = format_error(reason) if self.comm.size == 1 else self.comm.with_rank_prefix(reason)
        self.heartbeat.mark_failed(status, (trace or "") + line)
        with contextlib.suppress(Exception, KeyboardInterrupt):  # must not hide the reason
            if self.logger is not None:
                self.logger.close()
        if self.comm.rank == 0:
            report_failure_bounded(line, status, trace or "")
            self.heartbeat.mark_failed(status)
        with contextlib.suppress(Exception, KeyboardInterrupt):
            self.exit_stack.close()
        if self.comm.rank > 0:
            time.sleep(ROOT_REPORTS_FIRST_SECONDS)
            report_failure_bounded(line, status, trace or "")
        self._stop_watchdog(self.heartbeat.current_phase[0])
        if self.comm.size > 1:
            self.comm.abort(status)
        atexit.register(force_exit_when_overdue, status)
        return status

    def _stop_watchdog(self, last_phase: str = "ended") -> None:
        self.heartbeat.close(last_phase)
        self.watchdog.stop()

    def end(self) -> None:
        """Stop the watchdog, if it is still running, and release the run's directory."""
        self._stop_watchdog()
        self.reserve_fd.close()
        if self._stop_recording_stacks is not None:
            self._stop_recording_stacks()
        if self.directory is not None:
            self.directory.release()


def close_env(env: InProcessVectorEnv) -> None:
    """Close the environments; log an exception, which must neither hide an earlier error nor fail a finished run."""
    try:
        env.close()
    except Exception as error:
        text = " ".join(str(error).split())
        logging.getLogger("baselines_ppo").error(
            "an environment could not be closed: %s: %s", type(error).__name__, text
        )
