"""Finished episodes, read from Monitor files: those of this package, OpenAI Baselines and Stable-Baselines3."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.runs.tables import csv_rows, read_complete_lines

MAX_QUOTED_LENGTH = 60  # characters of a file in an error message


@dataclass(frozen=True)
class Episodes:
    """Finished episodes, in the order in which they ended.

    Attributes:
        returns: [N] float64, unscaled.
        lengths: [N] int64, steps.
        times: [N] float64, end times in seconds since the first environment was made.
    """

    returns: np.ndarray
    lengths: np.ndarray
    times: np.ndarray

    @classmethod
    def from_rows(cls, rows: list[tuple[float, int, float]]) -> Episodes:
        """Return the episodes in (return, length, time) rows."""
        table = np.array(rows, float).reshape(-1, 3)
        return cls(table[:, 0], table[:, 1].astype(np.int64), table[:, 2])


def read_monitor(path: str | Path) -> tuple[str | None, float | None, Episodes]:
    """Read a Monitor file, without an incomplete last line.

    Returns:
        (environment id or None, t_start, episodes with times since t_start); t_start is None for a file without a
        header yet.

    Raises:
        UserError: if it cannot be read, is not a Monitor file, or has a line that is not an episode.
    """
    text = read_complete_lines(path)
    first, _, rest = text.lstrip("\n").partition("\n")
    header_line = len(text) - len(text.lstrip("\n")) + 1
    if not first:
        return None, None, Episodes.from_rows([])
    try:
        header = json.loads(first.removeprefix("#"))
        t_start = float(header["t_start"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path} is not a Monitor file: its first line must be #{{"t_start": ..., "env_id": ...}}; leave it out'
        ) from error
    rows = csv_rows(path, rest)
    _, columns = next(rows, (1, ["r", "l", "t"]))
    if not {"r", "l", "t"} <= set(columns):
        raise UserError(
            f"{path} is not a Monitor file: it has the columns {', '.join(columns)[:MAX_QUOTED_LENGTH]} "
            "and not r, l, t; leave it out"
        )
    r, l, t = (columns.index(name) for name in "rlt")
    episodes = []
    for line, row in rows:
        try:
            episodes.append((float(row[r]), int(float(row[l])), float(row[t])))
        except (ValueError, IndexError, OverflowError) as error:
            raise UserError(
                f"{path}, line {header_line + line}: {','.join(row)[:MAX_QUOTED_LENGTH]!r} is not an episode; "
                "delete the line"
            ) from error
    return known_env_id(header.get("env_id")), t_start, Episodes.from_rows(episodes)


def known_env_id(env_id: object) -> str | None:
    """Return the environment id of a Monitor file, or None; Stable-Baselines3 writes "None" if there is none."""
    return env_id if isinstance(env_id, str) and env_id not in ("", "None") else None


def merge_episodes(files: Iterable[tuple[float | None, Episodes]]) -> Episodes:
    """Merge the episodes of several Monitor files of one run, in the order in which they ended.

    Args:
        files: (t_start, episodes) of each file.
    """
    started = [(t_start, episodes) for t_start, episodes in files if t_start is not None]
    if not started:
        return Episodes.from_rows([])
    returns = np.concatenate([episodes.returns for _, episodes in started])
    lengths = np.concatenate([episodes.lengths for _, episodes in started])
    # after a resume the seconds of a file may start again from 0; the order of its rows is right nevertheless
    end_times = np.concatenate([t_start + np.maximum.accumulate(episodes.times) for t_start, episodes in started])
    order = np.argsort(end_times, kind="stable")
    first_start = min(t_start for t_start, _ in started)
    return Episodes(returns[order], lengths[order], end_times[order] - first_start)
