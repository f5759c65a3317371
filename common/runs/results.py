"""What runs leave behind, as arrays: the episodes of Monitor files, the rows of progress.csv, the settings in config.json.

This package's files, OpenAI Baselines' and Stable-Baselines3's are read as they are, also while they are being written. Nothing is drawn here, and
TensorFlow is not imported.
"""

import csv
import io
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.runs.run_directory import read_config
from common.storage.append_file import complete_lines
from common.storage.paths import user_path
from common.storage.text_files import decode_text

# what is plotted -> its column in a progress.csv: ours and Baselines' ppo1 and trpo_mpi, Baselines' others, Stable-Baselines3's
COLUMNS = {
    "return": ("EpRewMean", "eprewmean", "mean 100 episode reward", "rollout/ep_rew_mean"),
    "steps": ("TimestepsSoFar", "misc/total_timesteps", "total_timesteps", "time/total_timesteps", "steps"),
    "time": ("TimeElapsed", "misc/time_elapsed", "time_elapsed", "time/time_elapsed"),
    "episodes": ("EpisodesSoFar", "episodes", "time/episodes"),
}
MONITOR, PROGRESS = "monitor.csv", "progress.csv"


@dataclass(frozen=True)
class Episodes:
    """Finished episodes, in the order in which they ended.

    Attributes:
        returns: [N] float64, unscaled.
        lengths: [N] int64, steps.
        times: [N] float64, when they ended: seconds since the first environment was made.
    """

    returns: np.ndarray
    lengths: np.ndarray
    times: np.ndarray


@dataclass(frozen=True)
class Curve:
    """A run's returns and where on three axes they were earned.

    Attributes:
        returns: [N] float64, one an episode, or one a row of progress.csv.
        averaged: whether they are means already, those of progress.csv.
        axes: {"steps", "time" in seconds, "episodes": [N] float64}; what a progress.csv does not tell is left out.
        source: the path that they were read from.
    """

    returns: np.ndarray
    averaged: bool
    axes: dict
    source: Path

    def points(self, x, window):
        """(x [M], mean return of the last `window` episodes [M]) along one of the axes.

        Raises:
            UserError: if there is no such axis, or nothing on it.
        """
        if x not in self.axes:
            raise UserError(
                f"{self.source} does not tell {x}; choose another --x of {', '.join(self.axes) or 'another file'}"
            )
        y = self.returns if self.averaged else running_mean(self.returns, window)
        known = np.isfinite(self.axes[x]) & np.isfinite(y)
        if not known.any():
            raise UserError(f"{self.source} has no number of {x} beside a return; choose another --x")
        return self.axes[x][known], y[known]

    def final(self, episodes):
        """Mean return of the last `episodes` episodes; the last mean of a progress.csv, whose window is its own. NaN if there is none."""
        known = self.returns[np.isfinite(self.returns)]
        if not len(known):
            return float("nan")
        return float(known[-1] if self.averaged else known[-episodes:].mean())


class Run:
    """One run: a folder, or a single file of one. Files are read when they are first asked for.

    Args:
        path: the folder, or a `*monitor.csv`, or any other file, which is taken for a progress.csv.

    Attributes:
        monitors: paths of its Monitor files.
        progress: path of its progress.csv, or None.
    """

    def __init__(self, path):
        self.path = user_path(path)
        self.folder = self.path if self.path.is_dir() else self.path.parent
        if self.path.is_dir():
            self.monitors = sorted(self.path.glob("*" + MONITOR))
            self.progress = self.path / PROGRESS if (self.path / PROGRESS).exists() else None
        else:
            is_monitor = self.path.name.endswith(MONITOR)
            self.monitors, self.progress = ([self.path], None) if is_monitor else ([], self.path)

    @cached_property
    def config(self):
        """config.json, {} if there is none. UserError if it cannot be read."""
        return read_config(self.folder) or {}

    @cached_property
    def settings(self):
        """{name: value} of config.json, those of the policy and `ranks` among them; {} without one."""
        settings = self.config.get("settings")
        if not isinstance(settings, dict):
            return {}
        own, of_policy = (
            {name: x for name, x in settings.items() if name != "policy_settings"},
            settings.get("policy_settings"),
        )
        return own | (of_policy if isinstance(of_policy, dict) else {}) | {"ranks": self.config.get("ranks")}

    @cached_property
    def env(self):
        """Id of the environment, as config.json or a Monitor file has it, or None."""
        return self.settings.get("env") or next((env for env, _, _ in self._monitor_files if env), None)

    @cached_property
    def _monitor_files(self):
        return [read_monitor(path) for path in self.monitors]

    @cached_property
    def episodes(self):
        """All finished `Episodes`, those of several Monitor files merged by when they ended."""
        return merged((started, episodes) for _, started, episodes in self._monitor_files)

    @cached_property
    def rows(self):
        """{column: [rows] float64} of progress.csv, {} if there is none."""
        return read_progress(self.progress) if self.progress else {}

    def column(self, what):
        """A column of progress.csv, [rows] float64, by a key of `COLUMNS`; None if there is none."""
        return next((self.rows[name] for name in COLUMNS[what] if name in self.rows), None)

    def _axes_of_rows(self, numbers):
        """{"steps", "time"} at the end of episodes by their number, from progress.csv, where all its rows tell them: it counts the steps of
        episodes that were cut, and no pause before a run went on."""
        episodes = self.column("episodes")
        if episodes is None or not len(episodes) or not np.isfinite(episodes).all() or episodes[-1] < 1:
            return {}
        found = {what: self.column(what) for what in ("steps", "time")}
        return {
            what: np.interp(numbers, [0.0, *episodes], [0.0, *column])
            for what, column in found.items()
            if column is not None and np.isfinite(column).all()
        }

    @cached_property
    def curve(self):
        """The `Curve` of its episodes, or of progress.csv where there is no Monitor file with one; None if nothing was finished yet.

        Raises:
            UserError: if a file cannot be read, or progress.csv has no column of returns.
        """
        episodes = self.episodes
        if np.isfinite(episodes.returns).any():
            axes = {
                "steps": np.cumsum(episodes.lengths, dtype=float),
                "time": episodes.times,
                "episodes": np.arange(1.0, len(episodes.returns) + 1),
            }
            return Curve(episodes.returns, False, axes | self._axes_of_rows(axes["episodes"]), self.path)
        if not self.rows:
            return None
        columns = {what: self.column(what) for what in COLUMNS}
        returns = columns.pop("return")
        if returns is None:
            raise UserError(f"{self.progress} has no column of returns; it takes one of {', '.join(COLUMNS['return'])}")
        curve = Curve(
            returns, True, {what: column for what, column in columns.items() if column is not None}, self.progress
        )
        return curve if np.isfinite(curve.returns).any() else None


def find_runs(path):
    """The runs at a path: the file or run folder itself, or every run folder below, in order of their paths.

    Raises:
        UserError: if there is none.
    """
    path = user_path(path)
    if path.is_file():
        return [Run(path)]
    found = []
    for folder, inside, files in os.walk(path):
        inside.sort()
        if PROGRESS in files or any(name.endswith(MONITOR) for name in files):
            found.append(Run(folder))
            inside.clear()  # what a run keeps inside are no runs
    if not found:
        missing = (
            "no run there: neither a progress.csv nor a *.monitor.csv, in it or below"
            if path.is_dir()
            else "there is no such file or folder"
        )
        raise UserError(f"{path}: {missing}")
    return found


def read_monitor(path):
    """One Monitor file, without a last line that is not whole yet.

    Returns:
        (environment id or None, t_start, `Episodes` with times since t_start); t_start is None in a file that has no header yet.

    Raises:
        UserError: if it cannot be read, is none, or has a line that is no episode.
    """
    text = _whole_lines(path)
    first, _, rest = text.lstrip("\n").partition("\n")
    line_of_first = len(text) - len(text.lstrip("\n")) + 1
    if not first:
        return None, None, _as_episodes([])
    try:
        header = json.loads(first.removeprefix("#"))
        started = float(header["t_start"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path} is no Monitor file: its first line is not #{{"t_start": ..., "env_id": ...}}; leave it out'
        ) from error
    rows = _rows(path, rest)
    names = next(rows, (1, ["r", "l", "t"]))[1]
    if not {"r", "l", "t"} <= set(names):
        raise UserError(
            f"{path} is no Monitor file: it has the columns {', '.join(names)[:60]} and not r, l, t; leave it out"
        )
    r, l, t = (names.index(name) for name in "rlt")
    found = []
    for line, row in rows:
        try:
            found.append((float(row[r]), int(float(row[l])), float(row[t])))
        except (ValueError, IndexError, OverflowError) as error:
            raise UserError(
                f"{path}, line {line_of_first + line}: {','.join(row)[:60]!r} is no episode; take the line out"
            ) from error
    return environment_named(header.get("env_id")), started, _as_episodes(found)


def environment_named(env_id):
    """The id of an environment as a Monitor file has it, or None: Stable-Baselines3 writes the text "None" for one that has none."""
    return env_id if isinstance(env_id, str) and env_id not in ("", "None") else None


def read_progress(path):
    """The rows of a progress.csv, or another table of numbers, without a last line that is not whole yet.

    Returns:
        {column: [rows] float64}; NaN where a cell is empty or no number. {} of a file without a header yet.

    Raises:
        UserError: if it cannot be read, or a row has more cells than the header.
    """
    rows = _rows(path, _whole_lines(path))
    names = next(rows, (0, []))[1]
    table = []
    for line, row in rows:
        while len(row) > len(names) and not row[-1]:
            del row[-1]  # a comma behind the last cell
        if len(row) > len(names):
            raise UserError(
                f"{path}, line {line}: {len(row)} cells under a header of {len(names)}; it is no progress.csv, or damaged"
            )
        table.append([_number(cell) for cell in row] + [float("nan")] * (len(names) - len(row)))
    return dict(zip(names, np.array(table, float).reshape(len(table), len(names)).T))


def merged(files):
    """`Episodes` of several Monitor files of one run, in the order in which they ended.

    Args:
        files: (t_start, `Episodes`) of each.
    """
    files = [(started, episodes) for started, episodes in files if started is not None]
    if not files:
        return _as_episodes([])
    returns, lengths = (
        np.concatenate([getattr(episodes, name) for _, episodes in files]) for name in ("returns", "lengths")
    )
    # a file that was gone on with may count its seconds anew; its own order is right all the same
    ended = np.concatenate([started + np.maximum.accumulate(episodes.times) for started, episodes in files])
    order = np.argsort(ended, kind="stable")
    return Episodes(returns[order], lengths[order], ended[order] - min(started for started, _ in files))


def running_mean(values, window):
    """Mean of the last `window` values at each [N] of them, of fewer at the start; those that are not finite are passed over."""
    finite = np.isfinite(values)
    total, count = (np.concatenate([[0.0], np.cumsum(part)]) for part in (np.where(finite, values, 0.0), finite))
    begin = np.maximum(np.arange(len(values)) + 1 - window, 0)
    with np.errstate(invalid="ignore"):
        return (total[1:] - total[begin]) / (count[1:] - count[begin])


def _as_episodes(rows):
    table = np.array(rows, float).reshape(-1, 3)
    return Episodes(table[:, 0], table[:, 1].astype(np.int64), table[:, 2])


def _whole_lines(path):
    path = user_path(path)
    try:
        text = decode_text(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text: it is damaged, or no Monitor or progress file") from error
    except ValueError as error:
        raise UserError(f"cannot read {path}: {error}") from error
    return complete_lines(text)


def _rows(path, text):
    """(number of the line, cells) of every row that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from error


def _number(cell):
    try:
        return float(cell)
    except ValueError:
        return float("nan")
