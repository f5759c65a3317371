"""Chooses the vector environment that steps environments fastest."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium as gym

from common.vec_env.in_process import InProcessVectorEnv
from common.vec_env.mujoco.locomotion import Runner
from common.vec_env.mujoco.recognition import layers_of, task_class
from common.vec_env.mujoco.runner_vector_env import RunnerVectorEnv
from common.vec_env.mujoco.vector_env import SteppedVectorEnv


def fast_vector_env(envs: Sequence[gym.Env]) -> InProcessVectorEnv:
    """Return the vector environment that steps `envs` fastest: a `MujocoVectorEnv` for tasks that are known."""
    layers = [layers_of(env) for env in envs]
    known = [layer for layer in layers if layer is not None]
    if len(known) < len(envs) or len({type(layer.unwrapped) for layer in known}) != 1:
        return InProcessVectorEnv(envs)
    unwrapped = [layer.unwrapped for layer in known]
    classes = {task_class(env) for env in unwrapped}
    if None in classes or len(classes) != 1:
        return InProcessVectorEnv(envs)
    try:
        task = classes.pop()(unwrapped)
    except (AttributeError, KeyError, ValueError, IndexError, TypeError):  # a model without the bodies of the task
        return InProcessVectorEnv(envs)
    return RunnerVectorEnv(envs, known, task) if isinstance(task, Runner) else SteppedVectorEnv(envs, known, task)
