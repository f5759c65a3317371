"""Recognises environments that can be stepped without their Python code: Gymnasium's own, from known sources."""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from common.envs.monitor import Monitor
from common.envs.stagger import StaggeredFirstEpisode
from common.vec_env.mujoco.humanoids import Humanoid, HumanoidStandup, HumanoidStandupV4, HumanoidV4
from common.vec_env.mujoco.locomotion import Ant, AntV4, HalfCheetah, Hopper, HopperV4, Swimmer, Walker2d, Walker2dV4
from common.vec_env.mujoco.small_tasks import (
    InvertedDoublePendulum,
    InvertedDoublePendulumV4,
    InvertedPendulum,
    InvertedPendulumV4,
    Pusher,
    Reacher,
    ReacherV4,
)
from common.vec_env.mujoco.task import Task

MODULE = "gymnasium.envs.mujoco."
# Formulas by module, and digests of the sources that they stand for, which are those of Gymnasium 1.4.0. After a
# release with other sources, add their digests if tests/common/vec_env/test_mujoco.py finds the results equal.
TASKS: dict[str, tuple[type[Task], tuple[str, ...]]] = {
    "ant_v4": (AntV4, ("d90c2d4744404039",)),
    "ant_v5": (Ant, ("8618dfa2e68fb730",)),
    "half_cheetah_v4": (HalfCheetah, ("f551b69d292c63a8",)),
    "half_cheetah_v5": (HalfCheetah, ("dbeab7af3a407e43",)),
    "hopper_v4": (HopperV4, ("ce7ccc633ee98ce7",)),
    "hopper_v5": (Hopper, ("522ea351de96a137",)),
    "humanoid_v4": (HumanoidV4, ("f0a9723a04495278",)),
    "humanoid_v5": (Humanoid, ("adeeca9ea7c1f3c1",)),
    "humanoidstandup_v4": (HumanoidStandupV4, ("8aa0e271b121d50c",)),
    "humanoidstandup_v5": (HumanoidStandup, ("025c614ee2c0898c",)),
    "inverted_double_pendulum_v4": (InvertedDoublePendulumV4, ("a88bcceea1390f99",)),
    "inverted_double_pendulum_v5": (InvertedDoublePendulum, ("72e8e730a5f076fa",)),
    "inverted_pendulum_v4": (InvertedPendulumV4, ("e639540ace7cd55b",)),
    "inverted_pendulum_v5": (InvertedPendulum, ("318bbbdb9efd87fd",)),
    "pusher_v5": (Pusher, ("d7e85cfbad0a9556",)),
    "reacher_v4": (ReacherV4, ("3e69a9fa9b638fb3",)),
    "reacher_v5": (Reacher, ("7677a58d0ab426ec",)),
    "swimmer_v4": (Swimmer, ("2960b704ecf44317",)),
    "swimmer_v5": (Swimmer, ("c3fcfd5d80dd3583",)),
    "walker2d_v4": (Walker2dV4, ("fb4c1ea577e1b4ef",)),
    "walker2d_v5": (Walker2d, ("23d137782a9396a4",)),
}
SHARED_SOURCES = ("7e357a0efdd1a58f",)

# what a step runs, and so what this package's formulas stand for
METHODS = (
    "step",
    "_get_obs",
    "_get_rew",
    "is_healthy",
    "healthy_reward",
    "control_cost",
    "contact_forces",
    "contact_cost",
    "terminated",
)
SIMULATION = ("do_simulation", "_step_mujoco_simulation", "dt", "state_vector", "get_body_com")
WRAPPERS = (TimeLimit, OrderEnforcing, PassiveEnvChecker)


@dataclass
class Layers:
    """An environment and its wrappers, of which each can be missing."""

    unwrapped: gym.Env
    stagger: StaggeredFirstEpisode | None = None
    monitor: Monitor | None = None
    limit: TimeLimit | None = None
    order: OrderEnforcing | None = None
    checker: PassiveEnvChecker | None = None

    def is_ready(self) -> bool:
        """Whether the environment has been reset, and Gymnasium's checks of its first steps are over."""
        checker, limit = self.checker, self.limit
        return (
            (self.order is None or self.order._has_reset)
            and (limit is None or limit._elapsed_steps is not None)
            and (checker is None or (checker.checked_step and checker.checked_data_reuse))
        )

    def steps_until_end(self) -> float:
        """Return the number of steps after which a wrapper truncates the episode; infinity if none does."""
        limit, stagger = self.limit, self.stagger
        return min(
            math.inf if limit is None else max(limit._max_episode_steps - limit._elapsed_steps, 1),
            math.inf if stagger is None or stagger.steps_left <= 0 else stagger.steps_left,
        )

    def count(self, rewards: Sequence[float], terminated: bool) -> bool:
        """Count steps of one episode as the wrappers would; return whether they truncate it.

        Args:
            rewards: of the steps.
            terminated: whether the last of them has terminated the episode.
        """
        truncated = False
        if self.limit is not None:
            self.limit._elapsed_steps += len(rewards)
            truncated = self.limit._elapsed_steps >= self.limit._max_episode_steps
        if self.monitor is not None:
            self.monitor.count(rewards, terminated or truncated)
        if self.stagger is not None:
            self.stagger.steps_left -= len(rewards)
            truncated = truncated or not self.stagger.steps_left
        return truncated


def layers_of(env: Any) -> Layers | None:
    """Return an environment's layers; None if it has others than `Layers`, or is in another order."""
    found: dict[str, Any] = {}
    for name, kind in {
        "stagger": StaggeredFirstEpisode,
        "monitor": Monitor,
        "limit": TimeLimit,
        "order": OrderEnforcing,
        "checker": PassiveEnvChecker,
    }.items():
        if type(env) is kind:
            if "step" in vars(env):
                return None
            found[name], env = env, env.env
    return None if isinstance(env, gym.Wrapper) else Layers(env, **found)


def task_class(env: Any) -> type[Task] | None:
    """Return the `Task` of an unwrapped environment; None if it is not one of Gymnasium's, or its source is unknown."""
    module, cls = type(env).__module__, type(env)
    name = module.removeprefix(MODULE)
    if not module.startswith(MODULE) or name not in TASKS or "step" in vars(env) or env.render_mode is not None:
        return None
    task, sources = TASKS[name]
    if source_digest(cls) not in sources or shared_digest() not in SHARED_SOURCES:
        return None
    return task


@functools.cache
def source_digest(cls: type) -> str:
    """Return a digest of the source of a class's `METHODS`, and of a function of its module that they call."""
    functions = [vars(cls)[name] for name in METHODS if name in vars(cls)]
    center = getattr(inspect.getmodule(cls), "mass_center", None)
    return digest([*functions, *([center] if center else [])])


@functools.cache
def shared_digest() -> str:
    """Return a digest of the source that all tasks share: one step of `MujocoEnv`, and of the wrappers."""
    from gymnasium.envs.mujoco import MujocoEnv

    return digest([*(vars(MujocoEnv)[name] for name in SIMULATION), *(cls.step for cls in WRAPPERS)])


def digest(functions: Sequence[Callable | property]) -> str:
    """Return a digest of the source of functions and properties; an empty text if it cannot be read."""
    try:
        sources = [inspect.getsource(x.fget if isinstance(x, property) else x) for x in functions]
    except (OSError, TypeError):
        return ""
    return hashlib.sha256("".join(sources).encode()).hexdigest()[:16]
