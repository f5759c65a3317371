"""The config of a run for an environment: resolved settings, and workers and threads for the cores of a rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from baselines_ppo.config.resolve import resolve
from baselines_ppo.config.resolved_config import ResolvedConfig
from common.distributed.communicator import Communicator
from common.envs.factory import env_family, make_env
from common.envs.mask_layout import OBSERVATION, has_action_mask
from common.policies.inputs.images import has_images
from common.policies.observation_encoder import is_image
from common.runtime.cpu import cpu_affinity
from common.validation import check_int


def resolve_config(
    explicit: Mapping[str, Any], ranks: int, cores: int, stored: Mapping[str, Any] | None = None
) -> ResolvedConfig:
    """Resolve the settings of a run, after inspecting its environment.

    Args:
        explicit: {setting: value} of the settings that the user gave, with `env` among them.
        ranks: number of ranks.
        cores: cores of one rank.
        stored: what config.json stores as explicit; `explicit` if None.

    Raises:
        UserError: for an unknown environment and for invalid settings.
    """
    gym.logger.min_level = gym.logger.ERROR
    env_id = explicit["env"]
    kind = env_family(env_id)
    suited = "cnn" if kind == "atari" else "mlp"
    if kind not in ("mujoco", "atari"):  # Box2D has an environment with images
        probe = make_env(env_id, env_kwargs=explicit.get("env_kwargs"))
        suited = suited_policy(probe.observation_space, probe.action_space)
        probe.close()
    return assign_cores(resolve(explicit, ranks, kind, env_id, suited, stored), cores)


def suited_policy(ob_space: gym.Space[Any], ac_space: gym.Space[Any]) -> str:
    """Return the name of the policy for spaces: 'cnn' for images, 'mixed' for several parts with images, else 'mlp'."""
    space = ob_space[OBSERVATION] if has_action_mask(ob_space, ac_space) else ob_space
    if is_image(space) and space.dtype == np.uint8:
        return "cnn"
    return "mixed" if has_images(space) else "mlp"


def assign_cores(config: ResolvedConfig, cores: int) -> ResolvedConfig:
    """Choose the worker processes and threads that step a rank's environments, unless they are given.

    Args:
        config: of the run.
        cores: cores of one rank.
    """
    kind, spare = env_family(config.run.env), min(cores, check_int("num_envs", config.run.num_envs, 1))
    workers, threads = config.run.env_workers, config.run.env_threads
    if workers is None:  # the Atari emulator holds the GIL
        workers = spare if kind == "atari" and spare > 1 else 0
    if threads is None:  # MuJoCo releases the GIL; other environments do not, or may not be thread-safe
        threads = spare if kind == "mujoco" and not workers else 1
    return config.with_run(env_workers=workers, env_threads=threads)


def cores_per_rank(comm: Communicator) -> int:
    """Return the number of cores that each rank may use.

    The cores in a rank's CPU affinity mask are divided among the ranks of its host that have the same mask; the
    minimum over all ranks is used.
    """
    cores = cpu_affinity()
    return comm.minimum(max(1, len(cores) // comm.gather_on_host(cores).count(cores)))
