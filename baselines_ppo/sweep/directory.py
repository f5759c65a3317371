"""The directory of a sweep: `sweep.json`, which defines it, and a directory for each run, whose progress is read."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines_ppo.cli.command_lines import format_value
from baselines_ppo.config.registry import STOP_SETTINGS, flag_of
from baselines_ppo.experiment.progress import stop_criteria
from baselines_ppo.sweep.plan import PROG, SweepRun
from common.errors import UserError
from common.runs.checkpoint_store import checkpoint_paths, is_forced
from common.runs.results import RunResults
from common.runs.run_directory import read_config
from common.storage.append_file import complete_lines
from common.storage.atomic import atomic_write
from common.storage.directory_lock import DirectoryLock, is_locked
from common.storage.paths import user_path
from common.storage.text_files import decode_text
from common.storage.write_errors import user_error_on_os_error

FORMAT = "baselines_ppo.sweep"
FINAL_EPISODES = 100
TAIL_BYTES = 1 << 14  # a row of progress.csv has a few hundred


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run.

    Attributes:
        steps, seconds: so far, summed over all resumes.
        fraction: of the run that is complete, from 0 to 1.
    """

    steps: int = 0
    seconds: float = 0.0
    fraction: float = 0.0


class RunsDirectory:
    """A directory with a directory for each of several runs, which one command starts and reads.

    Args:
        path: the directory; `acquire` creates it if it does not exist.
        owner: the command that uses it, "sweep" or "search"; for messages.
        option: the command's option for the directory; for messages.
    """

    def __init__(self, path: str | os.PathLike[str], owner: str, option: str) -> None:
        self.path, self.owner, self.option = user_path(path), owner, option
        self.lock: DirectoryLock | None = None
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{owner} directory {path} is a file; choose another {option}")

    def has_files(self) -> bool:
        """Whether the directory contains anything but hidden files."""
        return self.path.is_dir() and any(not one.name.startswith(".") for one in self.path.iterdir())

    def acquire(self) -> str | None:
        """Create and lock the directory (`DirectoryLock`).

        Returns:
            None, or one line of warning if it cannot be locked.

        Raises:
            UserError: if it cannot be created or written, or another running command has it.
        """
        with user_error_on_os_error(f"{self.owner} directory {self.path}", f"choose another {self.option}"):
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock = DirectoryLock(self.path, self.owner)
        return self.lock.warning

    def release(self) -> None:
        """Unlock the directory."""
        if self.lock is not None:
            self.lock.release()

    def is_started(self, run: SweepRun) -> bool:
        """Whether a run can be resumed."""
        return (self.path / run.name / "config.json").exists()

    def discard_inexact(self, run: SweepRun) -> None:
        """Delete the directory of a run that no scheduled checkpoint can resume, so that the run starts again."""
        path = self.path / run.name
        if self.is_started(run) and all(map(is_forced, checkpoint_paths(path))):
            with user_error_on_os_error(f"run directory {path}", f"choose another {self.option}"):
                shutil.rmtree(path)

    def is_locked(self, run: SweepRun) -> bool:
        """Whether a process of an earlier command still trains a run."""
        return is_locked(self.path / run.name)

    def final_metrics(self, run: SweepRun) -> dict[str, Any] | None:
        """Return the final metrics of a run (see `mark_done`); None unless it ended normally, at its limits."""
        folder = self.path / run.name
        if not ((folder / "done.json").exists() and (folder / "policy/policy.safetensors").exists()):
            return None
        settings = (read_config(folder) or {}).get("settings", {})
        if {name: settings[name] for name in STOP_SETTINGS if settings.get(name)} != run.limits:
            return None
        return json.loads((folder / "done.json").read_text(encoding="utf-8"))

    def mark_done(self, run: SweepRun) -> dict[str, Any]:
        """Record that a run ended with status 0.

        Returns:
            Its final metrics: "mean_return" of the last 100 episodes as baselines_ppo.plot computes it, or None if no
            episode ended; "steps"; "seconds"; "ended".

        Raises:
            UserError: if its episodes cannot be read.
        """
        end, curve = self.progress(run), RunResults(self.path / run.name).curve
        metrics = {
            "mean_return": curve and curve.final_return(FINAL_EPISODES),
            "steps": end.steps,
            "seconds": round(end.seconds, 3),
            "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        atomic_write(self.path / run.name / "done.json", (json.dumps(metrics) + "\n").encode())
        return metrics

    def progress(self, run: SweepRun) -> RunProgress:
        """Return a run's progress, from the last row of its log."""
        path = self.path / run.name / "progress.csv"
        row = last_row(path)
        if row is None:
            return RunProgress()
        steps, seconds = int(row["TimestepsSoFar"]), row["TimeElapsed"]
        iters = path.read_bytes().count(b"\n") - 1 if "max_iters" in run.limits else 0
        fraction = stop_criteria(run.limits).progress(steps, int(row["EpisodesSoFar"]), iters, seconds)
        return RunProgress(steps, seconds, min(fraction, 1.0))


class SweepDirectory(RunsDirectory):
    """The directory of one sweep: `sweep.json` and its runs.

    Args:
        path: the directory; `acquire` creates it if it does not exist.

    Raises:
        UserError: if it contains something else.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path, "sweep", "--sweep-dir")
        if self.path.is_dir() and self.definition() is None and self.has_files():
            raise UserError(
                f"sweep directory {path} contains other files and no sweep.json; choose another --sweep-dir"
            )

    def definition(self) -> dict[str, Any] | None:
        """Return {"settings": {name: [values]}, "ranks": n, "runs": {name: explicit settings}}; None before the start.

        Raises:
            UserError: if `sweep.json` cannot be read, or is not a sweep's.
        """
        path = self.path / "sweep.json"
        if not path.exists():
            return None
        try:
            found = json.loads(decode_text(path.read_bytes()))
            if found["format"] != FORMAT:
                raise ValueError(f"its format is {found['format']!r}")
            return {key: found[key] for key in ("settings", "ranks", "runs")}
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path} was not written by {PROG} ({type(error).__name__}: {error}); choose another --sweep-dir"
            ) from error

    def write_definition(self, definition: Mapping[str, Any]) -> None:
        """Write `sweep.json` atomically."""
        text = json.dumps({"format": FORMAT, **definition}, indent=1) + "\n"
        atomic_write(self.path / "sweep.json", text.encode())


def last_row(path: Path) -> dict[str, float] | None:
    """Return the last complete row of a progress.csv, {column: number}; None if there is none."""
    try:
        with path.open("rb") as file:
            header = file.readline()
            file.seek(max(len(header), file.seek(0, os.SEEK_END) - TAIL_BYTES))
            tail = file.read()
    except FileNotFoundError:
        return None
    lines = complete_lines(tail).splitlines()
    return dict(zip(header.decode().strip().split(","), map(float, lines[-1].split(b",")))) if lines else None


def extend_values(
    before: Mapping[str, Sequence[Any]], values: Mapping[str, Sequence[Any]], path: Path
) -> dict[str, Sequence[Any]]:
    """Return the values of the sweep in `path`, extended by those given now.

    Args:
        before, values: {setting: [values]}; a setting that is not given keeps its values.
        path: the sweep's directory, for messages.

    Raises:
        UserError: unless values are only added.
    """
    for name, given in values.items():
        if name not in before:
            raise UserError(
                f"{flag_of(name)} was not given to the sweep in {path}, which can only be extended by values of "
                f"{', '.join(map(flag_of, before))}; leave it out, or choose another --sweep-dir"
            )
        if missing := [value for value in before[name] if value not in given]:
            raise UserError(
                f"the sweep in {path} has {flag_of(name)} {' '.join(map(format_value, before[name]))}; "
                f"{' '.join(map(format_value, missing))} must remain: give these values and further ones, or choose "
                "another --sweep-dir"
            )
    return {**before, **values}
