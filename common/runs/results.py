"""The results of runs as arrays: episodes, rows of progress.csv, and the settings in config.json.

Files of this package, OpenAI Baselines and Stable-Baselines3 are read, also while they are being written.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.runs.episodes import Episodes, merge_episodes, read_monitor
from common.runs.run_directory import read_config
from common.runs.tables import read_progress
from common.storage.paths import user_path

# quantity -> its column in a progress.csv: of this package and Baselines' ppo1 and trpo_mpi, of Baselines' other
# algorithms, and of Stable-Baselines3
COLUMNS = {
    "return": ("EpRewMean", "eprewmean", "mean 100 episode reward", "rollout/ep_rew_mean"),
    "steps": ("TimestepsSoFar", "misc/total_timesteps", "total_timesteps", "time/total_timesteps", "steps"),
    "time": ("TimeElapsed", "misc/time_elapsed", "time_elapsed", "time/time_elapsed"),
    "episodes": ("EpisodesSoFar", "episodes", "time/episodes"),
}
MONITOR = "monitor.csv"  # the end of a Monitor file's name
PROGRESS = "progress.csv"


@dataclass(frozen=True)
class LearningCurve:
    """The returns of a run along several axes.

    Attributes:
        returns: [N] float64, of episodes, or of rows of a progress.csv.
        is_moving_average: whether they are means over several episodes already, as in a progress.csv.
        axes: {"steps", "time" in seconds, "episodes": [N] float64}, as far as they are known.
        source: the path that they were read from.
    """

    returns: np.ndarray
    is_moving_average: bool
    axes: dict[str, np.ndarray]
    source: Path

    def points(self, axis: str, window: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the points of the curve, without those that are not finite.

        Args:
            axis: a key of `axes`.
            window: number of episodes of the moving average.

        Returns:
            (position on the axis [M], mean return [M]).

        Raises:
            UserError: if the axis is unknown, or there are no points.
        """
        if axis not in self.axes:
            choices = ", ".join(self.axes) or "another file"
            raise UserError(f"{self.source} does not contain {axis}; choose another --x of {choices}")
        y = self.returns if self.is_moving_average else running_mean(self.returns, window)
        finite = np.isfinite(self.axes[axis]) & np.isfinite(y)
        if not finite.any():
            raise UserError(f"{self.source} contains no row with both {axis} and a return; choose another --x")
        return self.axes[axis][finite], y[finite]

    def final_return(self, episodes: int) -> float:
        """Return the mean return of the last `episodes` episodes, or NaN if there are none.

        For a progress.csv it is the last mean, whose window is its own.
        """
        finite = self.returns[np.isfinite(self.returns)]
        if not len(finite):
            return float("nan")
        return float(finite[-1] if self.is_moving_average else finite[-episodes:].mean())


class RunResults:
    """The results of one run. Files are read when they are first needed.

    Args:
        path: the run's directory; or one `*monitor.csv`; any other file is read as a progress.csv.

    Attributes:
        monitors: paths of its Monitor files.
        progress: path of its progress.csv, or None.
        directory: the run's directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = user_path(path)
        self.directory = self.path if self.path.is_dir() else self.path.parent
        self.monitors: list[Path] = []
        self.progress: Path | None = None
        if self.path.is_dir():
            self.monitors = sorted(self.path.glob("*" + MONITOR))
            self.progress = self.path / PROGRESS if (self.path / PROGRESS).exists() else None
        elif self.path.name.endswith(MONITOR):
            self.monitors = [self.path]
        else:
            self.progress = self.path

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its config.json, {} if there is none. UserError if it cannot be read."""
        return read_config(self.directory) or {}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """{name: value} of its settings, including the policy's and `ranks`; {} without a config.json."""
        settings = self.config.get("settings")
        if not isinstance(settings, dict):
            return {}
        policy_settings = settings.get("policy_settings")
        own_settings = {name: value for name, value in settings.items() if name != "policy_settings"}
        return (
            own_settings
            | (policy_settings if isinstance(policy_settings, dict) else {})
            | {"ranks": self.config.get("ranks")}
        )

    @cached_property
    def env(self) -> str | None:
        """Id of its environment, from config.json or a Monitor file."""
        return self.settings.get("env") or next((env for env, _, _ in self._monitor_files if env), None)

    @cached_property
    def _monitor_files(self) -> list[tuple[str | None, float | None, Episodes]]:
        return [read_monitor(path) for path in self.monitors]

    @cached_property
    def episodes(self) -> Episodes:
        """All finished episodes of its Monitor files, in the order in which they ended."""
        return merge_episodes((t_start, episodes) for _, t_start, episodes in self._monitor_files)

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """{column: [rows] float64} of its progress.csv, {} if there is none."""
        return read_progress(self.progress) if self.progress else {}

    def column(self, quantity: str) -> np.ndarray | None:
        """Return a column of progress.csv, [rows] float64, by a key of `COLUMNS`; None if there is none."""
        return next((self.rows[name] for name in COLUMNS[quantity] if name in self.rows), None)

    def _axes_from_rows(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Return {"steps", "time"} at the ends of episodes, interpolated from complete columns of progress.csv.

        Unlike the Monitor files, progress.csv counts the steps of truncated episodes, and no pause before a resume.

        Args:
            numbers: [N] numbers of the episodes, from 1.
        """
        episodes = self.column("episodes")
        if episodes is None or not len(episodes) or not np.isfinite(episodes).all() or episodes[-1] < 1:
            return {}
        columns = {quantity: self.column(quantity) for quantity in ("steps", "time")}
        return {
            quantity: np.interp(numbers, [0.0, *episodes], [0.0, *column])
            for quantity, column in columns.items()
            if column is not None and np.isfinite(column).all()
        }

    @cached_property
    def curve(self) -> LearningCurve | None:
        """The curve of its episodes, or of progress.csv if no Monitor file has an episode; None if there is no return.

        Raises:
            UserError: if a file cannot be read, or progress.csv has no column of returns.
        """
        if np.isfinite(self.episodes.returns).any():
            return self._curve_of_episodes()
        return self._curve_of_rows() if self.rows else None

    def _curve_of_episodes(self) -> LearningCurve:
        episodes = self.episodes
        axes = {
            "steps": np.cumsum(episodes.lengths, dtype=float),
            "time": episodes.times,
            "episodes": np.arange(1.0, len(episodes.returns) + 1),
        }
        return LearningCurve(episodes.returns, False, axes | self._axes_from_rows(axes["episodes"]), self.path)

    def _curve_of_rows(self) -> LearningCurve | None:
        columns = {quantity: self.column(quantity) for quantity in COLUMNS}
        returns = columns.pop("return")
        if returns is None:
            raise UserError(
                f"{self.progress} has no column of returns; it must have one of {', '.join(COLUMNS['return'])}"
            )
        axes = {quantity: column for quantity, column in columns.items() if column is not None}
        return LearningCurve(returns, True, axes, self.progress) if np.isfinite(returns).any() else None


def find_runs(path: str | Path) -> list[RunResults]:
    """Return the runs at a path, sorted by path: the file or run directory itself, or every run directory below it.

    Raises:
        UserError: if there is none.
    """
    path = user_path(path)
    if path.is_file():
        return [RunResults(path)]
    runs = []
    for directory, subdirectories, files in os.walk(path):
        subdirectories.sort()
        if PROGRESS in files or any(name.endswith(MONITOR) for name in files):
            runs.append(RunResults(directory))
            subdirectories.clear()  # a run's directory contains no other runs
    if not runs and path.is_dir():
        raise UserError(f"{path}: no run there: neither a progress.csv nor a *.monitor.csv, in it or below")
    if not runs:
        raise UserError(f"{path}: no such file or directory")
    return runs


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of the last `window` finite values at each of the values, [N]; of fewer at the start."""
    finite = np.isfinite(values)
    total, count = (np.concatenate([[0.0], np.cumsum(part)]) for part in (np.where(finite, values, 0.0), finite))
    start = np.maximum(np.arange(len(values)) + 1 - window, 0)
    with np.errstate(invalid="ignore"):
        return (total[1:] - total[start]) / (count[1:] - count[start])
