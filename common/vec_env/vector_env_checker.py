"""Checks a `VectorEnv`: its number of environments, its spaces, what its steps return, and its autoreset mode."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from common.dtypes import REAL_KINDS
from common.envs.env_checker import OLD_GYM_HINT, VECTOR_ENV_HINT, check_observation
from common.errors import EnvError, UserError
from common.formatting import describe_space, safe_repr


class EnvLayout(NamedTuple):
    """The number of environments, and the spaces of each one."""

    num_envs: int
    ob_space: gym.Space
    ac_space: gym.Space


def env_layout(env: Any) -> EnvLayout:
    """Return the layout of an `Env`, which is one environment whatever attributes it has, or of a `VectorEnv`.

    Raises:
        UserError: for anything else, for missing spaces, and for a `VectorEnv` without a number of environments.
    """
    name, is_vector = type(env).__name__, isinstance(env, gym.vector.VectorEnv)
    if not is_vector and not isinstance(env, gym.Env):
        how = (
            f"{VECTOR_ENV_HINT}, or build one with gymnasium.make_vec(...)"
            if hasattr(env, "num_envs")
            else "build it with gymnasium.make(...), and wrap an environment of old Gym (4-tuple step) with shimmy"
        )
        raise UserError(f"env is a {name}, not a gymnasium.Env or VectorEnv; {how}")
    names = ("single_observation_space", "single_action_space") if is_vector else ("observation_space", "action_space")
    spaces = [getattr(env, one, None) for one in names]
    if not all(isinstance(space, gym.Space) for space in spaces):
        raise UserError(
            f"env is a {name} without {' and '.join(names)}, two spaces of gymnasium.spaces; set them, or build it "
            "with gymnasium.make(...)"
        )
    if not is_vector:
        return EnvLayout(1, *spaces)
    num_envs = getattr(env, "num_envs", None)
    if isinstance(num_envs, bool) or not isinstance(num_envs, (int, np.integer)) or num_envs < 1:
        raise UserError(
            f"env is a {name} with num_envs={safe_repr(num_envs)}; set it to the number of its environments"
        )
    batched = gym.vector.utils.batch_space(spaces[0], int(num_envs))
    found = getattr(env, "observation_space", None)
    if not isinstance(found, gym.Space) or found.shape != batched.shape:
        raise UserError(
            f"{name}.observation_space is {safe_repr(found)}, but {num_envs} environments of "
            f"{describe_space(spaces[0])} have {describe_space(batched)}; set it to "
            "gymnasium.vector.utils.batch_space(...) of these"
        )
    return EnvLayout(int(num_envs), *spaces)


def check_observations(obs: Any, layout: EnvLayout, method: str) -> None:
    """Check that `obs`, which `method` returned, has one row of a Box for each environment.

    Observations of other spaces are left to their encoder.

    Raises:
        EnvError: if it has not.
    """
    if isinstance(layout.ob_space, gym.spaces.Box):
        expected = (layout.num_envs, *layout.ob_space.shape)
        if np.shape(obs) != expected or np.asarray(obs).dtype.kind not in REAL_KINDS:
            raise EnvError(
                f"returned from {method} observations {describe_array(obs)}, but its {layout.num_envs} environments "
                f"have {expected}",
                "return one row for each",
            )


def describe_array(x: Any) -> str:
    """Return an array's shape and dtype as text."""
    try:
        return f"of shape {np.shape(x)} and dtype {np.asarray(x).dtype}"
    except ValueError:  # ragged
        return safe_repr(x)


def check_step(result: Any, layout: EnvLayout) -> None:
    """Check that `step` of a `VectorEnv` returned an observation, a reward and two ends for each environment.

    Raises:
        EnvError: if it did not.
    """
    if not isinstance(result, tuple) or len(result) != 5:
        raise EnvError(
            f"returned {safe_repr(result)} from step, but Gymnasium expects five values: observations, rewards, "
            "terminated, truncated, infos",
            OLD_GYM_HINT,
        )
    obs, rew, terminated, truncated, infos = result
    check_observations(obs, layout, "step")
    for name, x, what in (
        ("rewards", rew, "numbers"),
        ("terminated", terminated, "bools"),
        ("truncated", truncated, "bools"),
    ):
        if np.shape(x) != (layout.num_envs,) or np.asarray(x).dtype.kind not in REAL_KINDS:
            raise EnvError(
                f"returned {name} {describe_array(x)}, but it has {layout.num_envs} environments",
                f"return an array of {layout.num_envs} {what}",
            )
    if not isinstance(infos, dict):
        raise EnvError(
            f"returned the infos {safe_repr(infos)}, which are not a dict", "return one dict for all environments"
        )


def broken_promise(mode: str, promise: str, hint: str, k: int | None = None) -> EnvError:
    """Return the error of a `VectorEnv`, or of its environment `k`, that does not follow its autoreset mode."""
    return EnvError(f"breaks a promise of its autoreset mode: {mode} promises {promise}", hint, environment=k)


def final_observation(infos: dict, k: int, layout: EnvLayout, batched_space: gym.Space) -> Any:
    """Return the last observation of environment `k`, whose episode ended in a SAME_STEP step that returned `infos`.

    Raises:
        EnvError: if it is missing.
    """
    if (final := infos.get("final_obs")) is None:
        old = ", but 'final_observation', as before Gymnasium 1.0" if "final_observation" in infos else ""
        raise broken_promise(
            "SAME_STEP",
            f"infos['final_obs'], which this environment does not return{old}",
            "put the last observations of ended episodes there, or set metadata['autoreset_mode'] to its actual mode",
        )
    space = layout.ob_space
    is_dict = isinstance(space, gym.spaces.Dict) and isinstance(final, dict)
    is_tuple = isinstance(space, gym.spaces.Tuple) and isinstance(final, tuple)
    if is_dict or is_tuple:  # a batch like the observations; Gymnasium's own environments have an array of objects
        final = list(gym.vector.utils.iterate(batched_space, final))
    try:
        ob = final[k]
    except (IndexError, KeyError, TypeError):
        ob = None
    if ob is None:
        found = "None" if np.ndim(final) else safe_repr(final)
        raise broken_promise(
            "SAME_STEP",
            f"infos['final_obs'][{k}] where environment {k} ended, which is {found}",
            "put the last observation of its episode there",
            k,
        )
    try:
        return check_observation(ob, space) if isinstance(space, gym.spaces.Box) else ob
    except EnvError as fault:
        raise EnvError(f"{fault.description}, in infos['final_obs'][{k}]", fault.hint, environment=k) from fault
