"""Commands of this package as text for a shell, complete and quoted, and settings as arguments of a command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from os import PathLike
from typing import Any

from baselines_ppo.config.registry import flag_of

TOOL = "python -m baselines_ppo"


def resume_command(path: str | PathLike[str], ranks: int) -> str:
    """Return the command that resumes the run in a directory, on the run's number of ranks."""
    launcher = f"mpirun -n {ranks} " if ranks > 1 else ""
    return f"{launcher}{TOOL} --run-dir {shlex.quote(str(path))} --resume"


def play_command(path: str | PathLike[str]) -> str:
    """Return the command that plays the policy of a run, a checkpoint or a policy directory."""
    return f"{TOOL} --play --load-path {shlex.quote(str(path))} --deterministic"


def report_command(path: str | PathLike[str]) -> str:
    """Return the command that draws the report of the run in a directory."""
    return f"{TOOL}.report {shlex.quote(str(path))}"


def format_value(value: object) -> str:
    """Return the value of a setting as it is typed on the command line."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return " ".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)


def to_argv(explicit: Mapping[str, Any]) -> list[str]:
    """Return {setting: value} as the arguments of a command line."""
    argv = []
    for name, value in explicit.items():
        flag, text = flag_of(name), format_value(value)
        if isinstance(value, list):
            argv += [flag, *text.split()]
            continue
        argv += [f"{flag}={text}"] if text.startswith("-") else [flag, text]  # argparse takes -1e-05 for a flag
    return argv
