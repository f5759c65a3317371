"""Environments from their names: kinds, one seed and one Monitor file per rank and environment."""

import contextlib
import copy
import os

import gymnasium as gym

from common.dtypes import to_float
from common.envs.env_ids import find_spec
from common.envs.monitor import Monitor
from common.envs.rendering import check_render_mode
from common.envs.user_code import place_of, what_it_did
from common.errors import UserError
from common.formatting import safe_repr
from common.runtime.tf_import import without_warnings


def filter_mujoco_warnings(draws):
    """Hold back MuJoCo's notes on its own model files; its warnings about the simulation still come through, to stderr.

    Args:
        draws: whether pictures are wanted. Else MuJoCo is imported without OpenGL: `MUJOCO_GL` may name one that this machine has not, and the import
            would fail, though nobody asked for a picture.
    """
    import sys

    with without_warnings(), contextlib.nullcontext() if draws else without_opengl():
        import mujoco
    mujoco.set_mju_user_warning(
        lambda text: None if text.startswith("compiler attribute") else print(f"MuJoCo: {text}", file=sys.stderr)
    )


@contextlib.contextmanager
def without_opengl():
    """A block in which `MUJOCO_GL` asks MuJoCo for none."""
    before = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disable"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = before


def env_family(env_id):
    """'mujoco', 'atari', 'classic' (classic control, toy text, Box2D) or 'other': what a preset is chosen by."""
    entry_point = str(find_spec(env_id).entry_point)
    for kind, marks in {
        "mujoco": ("envs.mujoco",),
        "atari": ("ale_py",),
        "classic": ("classic_control", "toy_text", "box2d"),
    }.items():
        if any(mark in entry_point for mark in marks):
            return kind
    return "other"


def make_env(env_id, monitor_path=None, training=True, reward_scale=1.0, env_kwargs=None, has_window=False):
    """One environment, monitored.

    Args:
        env_id: a Gymnasium id.
        monitor_path: the Monitor's file, or None for none.
        training: whether rewards may be scaled, or clipped as Atari's are; an evaluation sees the environment's own.
        reward_scale: what the learner's rewards are multiplied by; the Monitor logs them unscaled.
        env_kwargs: {name: value} for `gymnasium.make`.
        has_window: the caller knows that a window can be opened here, if one is to be.

    Raises:
        UserError: unknown name, or arguments or dependencies with which it cannot be made.
    """
    kind, env_kwargs = env_family(env_id), env_kwargs or {}
    if not has_window:
        check_render_mode(env_kwargs.get("render_mode"))
    try:
        env_kwargs = copy.deepcopy(
            env_kwargs
        )  # an environment may change what is in them, and others are made of the same
        if kind == "mujoco":
            filter_mujoco_warnings(draws="render_mode" in env_kwargs)
        if kind == "atari":
            from common.envs.atari_wrappers import make_atari

            env = make_atari(env_id, monitor_path, training, **env_kwargs)
        else:
            env = Monitor(gym.make(env_id, **{"disable_env_checker": True} | env_kwargs), monitor_path)
    except (Exception, SystemExit) as error:  # whatever an environment makes of arguments that are not its own
        raise UserError(
            f"cannot make {env_id} with {safe_repr(env_kwargs) if env_kwargs else 'no arguments'}: {why_not(error, env_id)}"
        ) from error
    if training and reward_scale != 1.0:
        env = gym.wrappers.TransformReward(env, lambda rew: to_float(rew) * reward_scale)
    return env


def why_not(error, env_id):
    """Why an environment cannot be made, in words: what its own code did, with the line, or what Gymnasium says."""
    if isinstance(error, ModuleNotFoundError) or place_of(error) is not None:
        entry = str(find_spec(env_id).entry_point)
        if place_of(error) is None and error.name and f"{entry.partition(':')[0]}.".startswith(f"{error.name}."):
            return f"its entry point {entry} is in no module that there is: no {error.name}"
        return f"it {what_it_did(error)}"
    return (str(error).splitlines() or [""])[0][:300] or type(
        error
    ).__name__  # Gymnasium repeats all arguments behind it
