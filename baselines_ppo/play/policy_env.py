"""Loads a saved policy together with the environment that it was trained on."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from baselines_ppo.policy_registry import load_policy
from common.envs.factory import make_env
from common.errors import UserError
from common.formatting import safe_repr, truncate
from common.policies.base import Policy
from common.policies.files import read_policy
from common.policies.locate import find_policy
from common.policies.space_comparison import check_spaces
from common.runs.run_directory import read_config
from common.runtime.tf_import import stderr_on_error_only
from common.storage.paths import user_path
from common.vec_env.action_masks import with_masks_for


def load_policy_and_env(
    path: str | os.PathLike[str], env_id: str | None = None, env_kwargs: Mapping[str, Any] | None = None
) -> tuple[Policy, gym.Env, str, Mapping[str, Any]]:
    """Load a saved policy, and make the environment that it was trained on, with that environment's own rewards.

    Args:
        path: as for `find_policy`.
        env_id, env_kwargs: of the environment; None takes those of the policy file or of its run.

    Returns:
        (pi, env, env_id, env_kwargs).

    Raises:
        UserError: if there is no policy or environment, or their spaces differ.
    """
    gym.logger.min_level = gym.logger.ERROR
    given, path = user_path(path), find_policy(path).resolve()
    metadata = read_policy(path)[1]
    if "env" not in metadata and path.parent.name == "checkpoints":
        settings = (read_config(path.parents[1]) or {}).get("settings")
        metadata |= settings if isinstance(settings, dict) else {}
    env_id = env_id or env_named_in(metadata, path, given)
    env_kwargs = kwargs_in(metadata, path) if env_kwargs is None else env_kwargs
    with stderr_on_error_only():
        env = make_env(env_id, training=False, env_kwargs=env_kwargs)
    pi = load_policy(path)
    env = with_masks_for(pi, env)
    check_spaces(path, pi, env.observation_space, env.action_space, env_id)
    return pi, env, env_id, env_kwargs


def kwargs_in(metadata: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the environment arguments that a policy's metadata has, without render_mode='human'.

    A window is opened by the process that shows episodes, not by the environment in which they are played.

    Raises:
        UserError: if they are not a JSON object, or if the file could not store some of them.
    """
    found, lost = metadata.get("env_kwargs") or {}, metadata.get("env_kwargs_lost") or {}
    if not isinstance(found, dict) or not isinstance(lost, dict):
        raise UserError(f"{path}: invalid env_kwargs={safe_repr(found)}: must be a JSON object; give --env-kwargs")
    if lost:
        what = ", ".join(f"{name} (a value of type {kind})" for name, kind in lost.items())
        without = shlex.quote(truncate(json.dumps(found)))
        raise UserError(
            f"{path}: its environment was made with {truncate(what)}, which no file can store; give --env-kwargs, a "
            f"JSON object with a replacement, or --env-kwargs {without} to leave them out"
        )
    return {name: x for name, x in found.items() if (name, x) != ("render_mode", "human")}


def env_named_in(metadata: Mapping[str, Any], path: Path, given: Path) -> str:
    """Return the environment id that a policy's metadata has.

    Args:
        metadata: of the policy.
        path: its file.
        given: the path that the user gave.

    Raises:
        UserError: if there is none, or if it names a module to import and the user gave a file rather than a run
            directory: a file from elsewhere must not choose which code runs.
    """
    env_id = metadata.get("env")
    if not isinstance(env_id, str):
        found = "" if env_id is None else f" (found {safe_repr(env_id)})"
        raise UserError(f"{path} does not name its environment{found}; give --env")
    if ":" in env_id and given.is_file():
        raise UserError(
            f"{path} names the environment {safe_repr(env_id)}, which imports code; if you trust it, give --env"
        )
    return env_id
