"""Monitor: records an environment's own episodes, in the file format of Baselines' and Stable-Baselines3's tools."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from common.distributed.launcher import launcher_rank
from common.dtypes import FLOAT_TYPES, to_float
from common.envs.env_checker import diagnose_step
from common.errors import UserError
from common.storage.append_file import AppendOnlyFile, FileInUseError
from common.storage.text_files import decode_text


class Monitor(gym.Wrapper):
    """Records the wrapped environment's own episodes, independently of outer wrappers that change rewards and ends.

    Args:
        env: the environment.
        path: a `*.monitor.csv` file, appended to if it exists; None for no file. Each environment needs its own file.
            If several ranks get the same path, one uses it, and the others put their number before its name.

    Attributes:
        episodes: finished episodes [(return, length)] that `take_episodes` has not returned yet.
    """

    def __init__(self, env: gym.Env, path: str | Path | None = None) -> None:
        super().__init__(env)
        self.episodes: list[tuple[float, int]] = []
        self.episode_return, self.episode_length = 0.0, 0
        self.rows: AppendOnlyFile | None = None
        self.started = time.time()
        self.write_to(path)

    def write_to(self, path: str | Path | None) -> None:
        """Write episodes to another file from now on; None for no file.

        Raises:
            UserError: if the file exists and is not a Monitor file, or if another environment's Monitor has it open.
        """
        if self.rows is not None:
            self.rows.close()
            self.rows = None
        if path is None:
            return
        rows = open_for_this_rank(path)
        if rows.is_empty():
            header = {"t_start": self.started, "env_id": self.env.spec.id if self.env.spec else None}
            rows.write(f"#{json.dumps(header)}\nr,l,t\n")
        else:
            try:
                self.started = started_in(rows.path)
            except (OSError, ValueError, KeyError, TypeError) as error:
                rows.close()
                raise UserError(
                    f"{rows.path} is not a monitor file, so no episodes are appended to it; move it away"
                ) from error
        self.rows = rows

    def reset(self, **kwargs: Any) -> tuple[Any, dict]:
        """Start a new episode; an unfinished episode is not recorded."""
        self.episode_return, self.episode_length = 0.0, 0
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        """Step the environment, and record the reward.

        Raises:
            EnvError: if the reward or the ends are invalid.
        """
        result = self.env.step(action)
        try:
            rew = result[1]
            # in float64: a float16 sum of rewards of 1 ends at 2,048
            self.episode_return += float(rew) if type(rew) in FLOAT_TYPES else to_float(rew)
            ended = bool(result[2] or result[3])
        except Exception as error:  # outer wrappers would raise a less helpful error
            raise diagnose_step(result, self.observation_space, error) from error
        self.episode_length += 1  # not by `count`, whose call takes time in every step
        if ended:
            self._finish()
        return result

    def count(self, rewards: Sequence[float], ended: bool) -> None:
        """Record steps of one episode that were taken without `step`; `ended` if the last one ended it."""
        for rew in rewards:  # as `step` adds them; the function `sum` would round in another way
            self.episode_return += rew
        self.episode_length += len(rewards)
        if ended:
            self._finish()

    def _finish(self) -> None:
        self.episodes.append((self.episode_return, self.episode_length))
        if self.rows is not None:
            self.rows.write(f"{self.episode_return:.6f},{self.episode_length},{time.time() - self.started:.6f}\n")
        self.episode_return, self.episode_length = 0.0, 0

    def take_episodes(self) -> list[tuple[float, int]]:
        """Return the episodes [(return, length)] that ended since the last call."""
        taken, self.episodes = self.episodes, []
        return taken

    def close(self) -> None:
        """Close the file and the environment."""
        self.write_to(None)
        super().close()


def open_for_this_rank(path: str | Path) -> AppendOnlyFile:
    """Open the file; if another rank has it open, open one with this rank's number before the name instead."""
    try:
        return AppendOnlyFile(path)
    except FileInUseError as error:
        rank = launcher_rank()
        if rank is None or error.here:
            raise
        own = AppendOnlyFile(error.path.with_name(f"{rank}.{error.path.name}"))
        print(
            f"rank {rank}: {error.path} is another rank's file; this rank writes its episodes to {own.path.name}",
            file=sys.stderr,
            flush=True,
        )
        return own


def started_in(path: Path) -> float:
    """Return `t_start` of a Monitor file, in seconds since the epoch.

    Raises:
        ValueError, KeyError, TypeError: if it is not a Monitor file, or its first columns are not r, l, t.
    """
    header, columns, *_ = [*decode_text(path.read_bytes()).splitlines(), ""]
    if columns.split(",")[:3] != ["r", "l", "t"]:
        raise ValueError(columns)
    return float(json.loads(header.removeprefix("#"))["t_start"])


def find_monitor(env: Any) -> Monitor | None:
    """Return the `Monitor` among an environment's wrappers, or None."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, Monitor):
            return env
        env = env.env
    return None
