"""Makes environments by id, and determines their family."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from common.dtypes import to_float
from common.envs.action_masks import with_masks_of
from common.envs.atari_wrappers import make_atari
from common.envs.env_ids import find_spec
from common.envs.monitor import Monitor
from common.envs.rendering import check_render_mode
from common.envs.user_code import describe_user_error, user_location
from common.errors import UserError
from common.formatting import safe_repr
from common.runtime.tf_import import without_warnings


def filter_mujoco_warnings(renders: bool) -> None:
    """Suppress MuJoCo's warnings about its own model files; warnings about the simulation go to stderr.

    Args:
        renders: whether the environment will be rendered. Otherwise MuJoCo is imported without OpenGL, because the
            import fails if `MUJOCO_GL` names a backend that this machine does not have.
    """
    with without_warnings(), contextlib.nullcontext() if renders else without_opengl():
        import mujoco
    mujoco.set_mju_user_warning(
        lambda text: None if text.startswith("compiler attribute") else print(f"MuJoCo: {text}", file=sys.stderr)
    )


@contextlib.contextmanager
def without_opengl() -> Iterator[None]:
    """Context manager in which `MUJOCO_GL` disables MuJoCo's rendering."""
    before = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disable"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = before


def env_family(env_id: str) -> str:
    """Return 'mujoco', 'atari', 'classic' (classic control, toy text, Box2D) or 'other'. Presets depend on it."""
    entry_point = str(find_spec(env_id).entry_point)
    for family, marks in {
        "mujoco": ("envs.mujoco",),
        "atari": ("ale_py",),
        "classic": ("classic_control", "toy_text", "box2d"),
    }.items():
        if any(mark in entry_point for mark in marks):
            return family
    return "other"


def make_env(
    env_id: str,
    monitor_path: str | Path | None = None,
    training: bool = True,
    reward_scale: float = 1.0,
    env_kwargs: Mapping[str, Any] | None = None,
    has_window: bool = False,
    action_masks: bool | None = False,
) -> gym.Env:
    """Make one environment with a `Monitor`.

    Args:
        env_id: a Gymnasium id.
        monitor_path: the Monitor's file; None for no file.
        training: rewards may be scaled, and Atari's are clipped; an evaluation uses the environment's own rewards.
        reward_scale: factor of the rewards used for training; the Monitor records unscaled rewards.
        env_kwargs: {name: value}, arguments of `gymnasium.make`.
        has_window: the caller has checked that a window can be opened.
        action_masks: whether observations contain the masks of valid actions; None: if the environment gives masks.

    Raises:
        UserError: for an unknown id, invalid arguments, or missing packages; or if masks are required, and it gives
            none.
    """
    family, env_kwargs = env_family(env_id), env_kwargs or {}
    if not has_window:
        check_render_mode(env_kwargs.get("render_mode"))
    env: gym.Env
    try:
        env_kwargs = copy.deepcopy(env_kwargs)  # the environment may change them, and others are made with the same
        if family == "mujoco":
            filter_mujoco_warnings(renders="render_mode" in env_kwargs)
        if family == "atari":
            env = make_atari(env_id, monitor_path, training, **env_kwargs)
        else:
            env = Monitor(gym.make(env_id, **{"disable_env_checker": True, **env_kwargs}), monitor_path)
    except (Exception, SystemExit) as error:  # constructors raise anything
        raise UserError(
            f"cannot make {env_id} with {safe_repr(env_kwargs) if env_kwargs else 'no arguments'}: "
            f"{explain_failure(error, env_id)}"
        ) from error
    if training and reward_scale != 1.0:
        env = gym.wrappers.TransformReward(env, lambda rew: to_float(rew) * reward_scale)
    return with_masks_of(env, action_masks)


def explain_failure(error: BaseException, env_id: str) -> str:
    """Return why an environment cannot be made: what its own code did, with the line, or Gymnasium's message."""
    if isinstance(error, ModuleNotFoundError) or user_location(error) is not None:
        entry = str(find_spec(env_id).entry_point)
        if user_location(error) is None and error.name and f"{entry.partition(':')[0]}.".startswith(f"{error.name}."):
            return f"the module of its entry point {entry} does not exist: no {error.name}"
        return f"it {describe_user_error(error)}"
    first_line = (str(error).splitlines() or [""])[0]  # Gymnasium repeats all arguments in the following lines
    return first_line[:300] or type(error).__name__
