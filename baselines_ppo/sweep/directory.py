"""A sweep's folder: `sweep.json`, which says what the sweep is, a folder for each run, and what can be read in them of how far it has come."""

import json
import os
import time
from dataclasses import dataclass

from baselines_ppo.cli.command_lines import format_value
from baselines_ppo.config.registry import STOP_SETTINGS, flag_of
from baselines_ppo.experiment.progress import stop_criteria
from baselines_ppo.sweep.plan import PROG
from common.errors import UserError
from common.runs import results
from common.runs.run_directory import read_config
from common.storage.append_file import complete_lines
from common.storage.atomic import atomic_write
from common.storage.directory_lock import DirectoryLock, is_locked
from common.storage.paths import user_path
from common.storage.text_files import decode_text
from common.storage.write_errors import user_error_on_os_error

FORMAT = "baselines_ppo.sweep"
LAST_EPISODES = 100
TAIL = 1 << 14  # bytes; a row of progress.csv has a few hundred


@dataclass(frozen=True)
class RunProgress:
    """How far a run has come.

    Attributes:
        steps, seconds: so far, over all resumes.
        fraction: of the run that is done, 0 to 1.
    """

    steps: int = 0
    seconds: float = 0.0
    fraction: float = 0.0


class SweepFolder:
    """The folder of one sweep.

    Args:
        path: the folder; made by `claim` if it is not there.

    Raises:
        UserError: if it holds something else.
    """

    def __init__(self, path):
        self.path, self.lock = user_path(path), None
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"sweep directory {path} is a file; choose another --sweep-dir")
        if (
            self.path.is_dir()
            and self.definition() is None
            and any(not one.name.startswith(".") for one in self.path.iterdir())
        ):
            raise UserError(f"sweep directory {path} holds other files and no sweep.json; choose another --sweep-dir")

    def claim(self):
        """Take the folder for this process (`DirectoryLock`).

        Returns:
            None, or one line of warning if it cannot be locked.

        Raises:
            UserError: if it cannot be made or written, or another sweep that is still alive has it.
        """
        with user_error_on_os_error(f"sweep directory {self.path}", "choose another --sweep-dir"):
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock = DirectoryLock(self.path, "sweep")
        return self.lock.warning

    def definition(self):
        """What the sweep is, {"settings": {name: [values]}, "ranks": n, "runs": {name: typed}}; None before its first start.

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

    def write_definition(self, definition):
        """Write `sweep.json`, whole or not at all."""
        atomic_write(self.path / "sweep.json", (json.dumps({"format": FORMAT} | definition, indent=1) + "\n").encode())

    # ---- its runs

    def is_started(self, run):
        """Whether there is something to go on with."""
        return (self.path / run.name / "config.json").exists()

    def is_locked(self, run):
        """Whether a process that an earlier sweep left behind is still at work on a run."""
        return is_locked(self.path / run.name)

    def figures(self, run):
        """The final figures of a run, as `finish` wrote them; None unless it has ended well, at the limits that are asked for."""
        folder = self.path / run.name
        if not ((folder / "done.json").exists() and (folder / "policy/policy.safetensors").exists()):
            return None
        settings = (read_config(folder) or {}).get("settings", {})
        if {name: settings[name] for name in STOP_SETTINGS if settings.get(name)} != run.limits:
            return None
        return json.loads((folder / "done.json").read_text(encoding="utf-8"))

    def finish(self, run):
        """Note that a run has ended with status 0.

        Returns:
            its final figures {"mean_return": of the last 100 episodes, as baselines_ppo.plot has it, or None if none ended, "steps", "seconds", "ended"}.

        Raises:
            UserError: if its episodes cannot be read.
        """
        end, curve = self.standing(run), results.RunResults(self.path / run.name).curve
        figures = {
            "mean_return": curve and curve.final_return(LAST_EPISODES),
            "steps": end.steps,
            "seconds": round(end.seconds, 3),
            "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        atomic_write(self.path / run.name / "done.json", (json.dumps(figures) + "\n").encode())
        return figures

    def standing(self, run):
        """A run's `RunProgress`, by the last line of its log."""
        path = self.path / run.name / "progress.csv"
        row = last_row(path)
        if row is None:
            return RunProgress()
        steps, seconds = int(row["TimestepsSoFar"]), row["TimeElapsed"]
        iters = path.read_bytes().count(b"\n") - 1 if "max_iters" in run.limits else 0
        return RunProgress(steps, seconds, min(stop_criteria(run.limits).progress(steps, row["EpisodesSoFar"], iters, seconds), 1.0))


def last_row(path):
    """The last whole row of a progress.csv, {name: number}; None before there is one."""
    try:
        with path.open("rb") as file:
            header = file.readline()
            file.seek(max(len(header), file.seek(0, os.SEEK_END) - TAIL))
            tail = file.read()
    except FileNotFoundError:
        return None
    lines = complete_lines(tail).splitlines()
    return dict(zip(header.decode().strip().split(","), map(float, lines[-1].split(b",")))) if lines else None


def extend_values(before, values, path):
    """The values of the sweep in `path`, with those that are typed now.

    Args:
        before, values: {setting: [values]}; what is not typed stays as it was.

    Raises:
        UserError: unless they only add values.
    """
    for name, typed in values.items():
        if name not in before:
            raise UserError(
                f"{flag_of(name)} was not given to the sweep in {path}, which can only take more values of {', '.join(map(flag_of, before))}; "
                "leave it out, or choose another --sweep-dir"
            )
        if missing := [value for value in before[name] if value not in typed]:
            raise UserError(
                f"the sweep in {path} has {flag_of(name)} {' '.join(map(format_value, before[name]))}; {' '.join(map(format_value, missing))} cannot be "
                "taken out: give these values and more of them, or choose another --sweep-dir"
            )
    return before | values
