"""Makes a rank's environments, in this process or in worker processes. Workers unpickle functions of this module."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from common.envs.action_masks import mask_source
from common.envs.factory import make_env
from common.envs.stagger import StaggeredFirstEpisode
from common.vec_env.action_masks import with_action_masks
from common.vec_env.in_process import InProcessVectorEnv
from common.vec_env.mujoco.choice import fast_vector_env
from common.vec_env.subproc import SubprocVectorEnv


def make_vector_env(
    env_id: str,
    num_envs: int,
    rank: int = 0,
    monitor_dir: str | os.PathLike[str] | None = None,
    workers: int = 0,
    reward_scale: float = 1.0,
    env_kwargs: Mapping[str, Any] | None = None,
    stagger: int = 0,
    action_masks: bool | None = None,
) -> InProcessVectorEnv | SubprocVectorEnv:
    """Make this rank's environments. Each writes the file `<rank>.<env>.monitor.csv`.

    Args:
        env_id: a Gymnasium id.
        num_envs: how many environments.
        rank: this rank's number.
        monitor_dir: directory of the Monitor files; None for no files.
        workers: processes that step the environments; 0 steps them in this process.
        reward_scale, env_kwargs: as for `make_env`.
        stagger: number of ranks, over whose environments the ends of the first episodes are spread; 0 for no
            staggering.
        action_masks: whether observations contain the masks of valid actions; None: if the environment gives masks.

    Raises:
        UserError: as `make_env`.
    """
    spread = (rank * num_envs, stagger * num_envs) if stagger else None
    arguments = (env_id, rank, monitor_dir, reward_scale, env_kwargs, spread)
    if not workers:
        envs = [make_indexed_env(*arguments, False, k) for k in range(num_envs)]
        return with_action_masks(fast_vector_env(envs), action_masks)
    if action_masks is None:
        probe = make_indexed_env(*arguments, False, None)
        action_masks = mask_source(probe) is not None
        probe.close()
    make = functools.partial(make_indexed_env, *arguments, action_masks)
    return SubprocVectorEnv(make, num_envs, min(workers, num_envs))


def make_indexed_env(
    env_id: str,
    rank: int,
    monitor_dir: str | os.PathLike[str] | None,
    reward_scale: float,
    env_kwargs: Mapping[str, Any] | None,
    spread: tuple[int, int] | None,
    action_masks: bool,
    k: int | None,
) -> gym.Env:
    """Make environment `k` of a rank; for None, one that writes no file.

    Args:
        env_id, rank, monitor_dir, reward_scale, env_kwargs: as for `make_vector_env`.
        spread: (number of the rank's first environment, environments of all ranks) to stagger first episodes, or None.
        action_masks: whether observations contain the masks of valid actions.
        k: number of the environment, or None.
    """
    path = None if k is None or monitor_dir is None else Path(monitor_dir) / f"{rank}.{k}.monitor.csv"
    env = make_env(env_id, path, reward_scale=reward_scale, env_kwargs=env_kwargs, action_masks=action_masks)
    limit = env.spec.max_episode_steps if env.spec and spread and k is not None else None
    first = round(limit * (spread[0] + k) / spread[1]) if limit and spread and k is not None else 0
    return StaggeredFirstEpisode(env, first) if first else env
