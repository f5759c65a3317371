"""The files that a finished run leaves besides its logs and checkpoints: the final policy and the report."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from baselines_ppo.cli.command_lines import report_command
from baselines_ppo.config.resolved_config import ResolvedConfig
from common.distributed.launcher import subprocess_env
from common.runs.run_directory import FINAL_POLICY, RunDirectory
from common.runtime.crash_stacks import signal_name
from common.storage.write_errors import raises_write_error

if TYPE_CHECKING:
    from common.policies.base import Policy

REPORT_TIMEOUT = 600.0  # seconds for the report and its video
PROGRAM_PREFIX = "baselines_ppo.report: "  # of the messages of the report's process


def environment_metadata(config: ResolvedConfig) -> dict[str, Any]:
    """Return what a policy file records about the environment of its training."""
    metadata: dict[str, Any] = {"env": config.run.env, "env_kwargs": config.run.env_kwargs}
    if config.lost_env_kwargs:
        metadata["env_kwargs_lost"] = config.lost_env_kwargs
    return metadata


def save_policy(pi: Policy, directory: RunDirectory, config: ResolvedConfig) -> None:
    """Write the final policy to the run's directory and, if `save_policy` is set, also to that file.

    Raises:
        WriteError: if one of them cannot be written.
    """
    path = directory.path / FINAL_POLICY
    with raises_write_error(path):
        directory.verify_ownership()
        path.parent.mkdir(exist_ok=True)
    metadata = environment_metadata(config)
    pi.save(path, **metadata)
    if config.run.save_policy:
        pi.save(config.run.save_policy, **metadata)


def draw_report(directory: RunDirectory, config: ResolvedConfig) -> None:
    """Draw curve.png, report.html and, if `film` is set, a video.

    A separate process draws them; a failure is logged and does not fail the run.
    """
    argv = [sys.executable, "-m", "baselines_ppo.report", str(directory.path)]
    if config.run.film:
        argv.append("--film")
    retry = f"draw it with: {report_command(directory.path)}"
    process = None
    try:
        process = subprocess.run(argv, capture_output=True, text=True, env=subprocess_env(), timeout=REPORT_TIMEOUT)
    except KeyboardInterrupt:
        messages = [f"not drawn (interrupted); {retry}"]
    except (OSError, subprocess.TimeoutExpired) as error:
        messages = [f"not drawn ({type(error).__name__}); {retry}"]
    else:
        messages = _messages_of(process, retry)
    for message in messages:
        logging.getLogger("baselines_ppo").warning("report: %s", message.removeprefix(PROGRAM_PREFIX))
    if process is not None and process.returncode == 0 and not config.run.quiet:
        print(f"report: {directory.path / 'report.html'}", flush=True)


def _messages_of(process: subprocess.CompletedProcess[str], retry: str) -> list[str]:
    """Return the messages of a report process: all warnings of one that succeeded, one line for one that failed."""
    if process.returncode < 0:
        return [f"not drawn: killed by {signal_name(-process.returncode)}; {retry}"]
    lines = process.stderr.splitlines()
    if process.returncode == 0:
        return lines
    return lines[-1:] or [f"not drawn: exit status {process.returncode}; {retry}"]
