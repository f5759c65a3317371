"""Monitor: an environment's episodes, counted where they are real, and written as Baselines' and SB3's tools read them."""

import json
import sys
import time

import gymnasium as gym

from common.distributed.launcher import launcher_rank
from common.dtypes import FLOAT_TYPES, to_float
from common.envs.env_checker import diagnose_step
from common.errors import UserError
from common.storage.append_file import AppendOnlyFile, FileInUseError
from common.storage.text_files import decode_text


class Monitor(gym.Wrapper):
    """Counts the wrapped environment's own episodes, whatever wrappers outside it make of rewards and ends.

    Args:
        env: the environment.
        path: a `*.monitor.csv` file, appended to if it is there; None writes none. Each environment needs its own. Of ranks that are given the same,
            one takes it, and the others put their number before its name.

    Attributes:
        episodes: finished episodes [(return, length)] not yet taken by `take_episodes`.
    """

    def __init__(self, env, path=None):
        super().__init__(env)
        self.episodes, self.episode_return, self.episode_length = [], 0.0, 0
        self.rows, self.started = None, time.time()
        self.write_to(path)

    def write_to(self, path):
        """Write episodes to another file from now on, as `path` above.

        Raises:
            UserError: if it is there, and no Monitor file; or if another environment's Monitor has it open.
        """
        if self.rows is not None:
            self.rows.close()
            self.rows = None
        if path is None:
            return
        rows = rows_of_this_rank(path)
        if rows.is_empty():
            header = {"t_start": self.started, "env_id": self.env.spec.id if self.env.spec else None}
            rows.write(f"#{json.dumps(header)}\nr,l,t\n")
        else:
            try:
                self.started = started_in(rows.path)
            except (OSError, ValueError, KeyError, TypeError) as error:
                rows.close()
                raise UserError(
                    f"{rows.path} is no monitor file, so no episodes are added to it; move it away"
                ) from error
        self.rows = rows

    def reset(self, **kwargs):
        """Starts a new episode; what was counted of one that has not ended is dropped."""
        self.episode_return, self.episode_length = 0.0, 0
        return self.env.reset(**kwargs)

    def step(self, action):
        """A step, counted and handed on as it is. EnvironmentFault if its reward or its ends cannot be read."""
        result = self.env.step(action)
        try:
            rew = result[1]
            self.episode_return += (
                float(rew) if type(rew) in FLOAT_TYPES else to_float(rew)
            )  # in float64: float16 ends at 2,048 where rewards are 1
            ended = bool(result[2] or result[3])
        except Exception as error:  # wrappers outside would raise what says less
            raise diagnose_step(result, self.observation_space, error) from error
        self.episode_length += 1
        if ended:
            self._finish()
        return result

    def _finish(self):
        self.episodes.append((self.episode_return, self.episode_length))
        if self.rows is not None:
            self.rows.write(f"{self.episode_return:.6f},{self.episode_length},{time.time() - self.started:.6f}\n")
        self.episode_return, self.episode_length = 0.0, 0

    def take_episodes(self):
        """The finished episodes [(return, length)] since the last call."""
        taken, self.episodes = self.episodes, []
        return taken

    def close(self):
        self.write_to(None)
        super().close()


def rows_of_this_rank(path):
    """The `AppendOnlyFile` at `path`, or, where another rank has that, beside it with this rank's number before the name."""
    try:
        return AppendOnlyFile(path)
    except FileInUseError as error:
        rank = launcher_rank()
        if rank is None or error.here:
            raise
        own = AppendOnlyFile(error.path.with_name(f"{rank}.{error.path.name}"))
        print(
            f"rank {rank}: {error.path} is another rank's; this one's episodes go to {own.path.name} beside it",
            file=sys.stderr,
            flush=True,
        )
        return own


def started_in(path):
    """`t_start` of a Monitor file. ValueError, KeyError or TypeError if it is none, or its first columns are not r, l, t."""
    header, columns, *_ = [*decode_text(path.read_bytes()).splitlines(), ""]
    if columns.split(",")[:3] != ["r", "l", "t"]:
        raise ValueError(columns)
    return float(json.loads(header.removeprefix("#"))["t_start"])


def find_monitor(env):
    """The `Monitor` among an environment's wrappers, or None."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, Monitor):
            return env
        env = env.env
    return None
