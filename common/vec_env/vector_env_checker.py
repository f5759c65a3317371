"""What a `VectorEnv` promises, and an `Env` does not: how many environments there are, and what their steps return."""

from typing import NamedTuple

import gymnasium as gym
import numpy as np

from common.envs.env_checker import REAL_KINDS, SEVERAL, check_observation
from common.errors import EnvError, UserError
from common.formatting import describe_space, safe_repr


class Layout(NamedTuple):
    """How many environments something is, and the spaces of each."""

    num_envs: int
    ob_space: gym.Space
    ac_space: gym.Space


def layout_of(env):
    """The `Layout` of an `Env`, which is one environment whatever attributes it has, or of a `VectorEnv`.

    Raises:
        UserError: for anything else, and for what has no spaces or, a `VectorEnv`, no number of environments.
    """
    name, vector = type(env).__name__, isinstance(env, gym.vector.VectorEnv)
    if not vector and not isinstance(env, gym.Env):
        how = (
            f"{SEVERAL}, or build one with gymnasium.make_vec(...)"
            if hasattr(env, "num_envs")
            else "build it with gymnasium.make(...), and wrap an environment of old Gym (4-tuple step) with shimmy"
        )
        raise UserError(f"env is a {name}, not a gymnasium.Env or VectorEnv; {how}")
    names = ("single_observation_space", "single_action_space") if vector else ("observation_space", "action_space")
    spaces = [getattr(env, one, None) for one in names]
    if not all(isinstance(space, gym.Space) for space in spaces):
        raise UserError(
            f"env is a {name} without {' and '.join(names)}, two spaces of gymnasium.spaces; set them, or build it with gymnasium.make(...)"
        )
    if not vector:
        return Layout(1, *spaces)
    number = getattr(env, "num_envs", None)
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
        raise UserError(f"env is a {name} with num_envs={safe_repr(number)}; set it to the number of its environments")
    batched = gym.vector.utils.batch_space(spaces[0], number)
    if (
        not isinstance(getattr(env, "observation_space", None), gym.Space)
        or env.observation_space.shape != batched.shape
    ):
        raise UserError(
            f"{name}.observation_space is {safe_repr(getattr(env, 'observation_space', None))}, where {number} environments of "
            f"{describe_space(spaces[0])} have {describe_space(batched)}; set it to gymnasium.vector.utils.batch_space(...) of these"
        )
    return Layout(int(number), *spaces)


def check_observations(obs, layout, method):
    """Raises EnvironmentFault unless `obs`, which `method` of a `VectorEnv` returned, is a row of a Box for each environment. Others are left to their
    encoder."""
    if isinstance(layout.ob_space, gym.spaces.Box):
        wanted = (layout.num_envs, *layout.ob_space.shape)
        if np.shape(obs) != wanted or np.asarray(obs).dtype.kind not in REAL_KINDS:
            raise EnvError(
                f"returned from {method} observations {of_shape(obs)}, where its {layout.num_envs} environments have {wanted}",
                "return one row for each",
            )


def of_shape(x):
    """What an array is, in words."""
    try:
        return f"of shape {np.shape(x)} and dtype {np.asarray(x).dtype}"
    except ValueError:  # ragged
        return safe_repr(x)


def check_step(result, layout):
    """Raises EnvironmentFault unless what `step` of a `VectorEnv` returned has an observation, a reward and two ends for each environment."""
    if not isinstance(result, tuple) or len(result) != 5:
        raise EnvError(
            f"returned {safe_repr(result)} from step, where Gymnasium has five things: observations, rewards, terminated, truncated, infos",
            "return all five, or wrap an environment of old Gym with shimmy",
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
                f"returned {name} {of_shape(x)}, where it has {layout.num_envs} environments",
                f"return an array of {layout.num_envs} {what}",
            )
    if not isinstance(infos, dict):
        raise EnvError(
            f"returned the infos {safe_repr(infos)}, which are no dict", "return one dict for all environments"
        )


def broken(mode, promise, fix, k=None):
    """The fault of a `VectorEnv`, or of environment `k` of it, that does not keep what its autoreset mode promises."""
    return EnvError(f"breaks a promise of its autoreset mode: {mode} promises {promise}", fix, environment=k)


def final_observation(infos, k, layout, batched_space):
    """The last observation of environment `k`, whose episode has ended in a step of SAME_STEP that returned `infos`.

    Raises:
        EnvironmentFault: if it is not there.
    """
    if (final := infos.get("final_obs")) is None:
        old = ", but 'final_observation', as before Gymnasium 1.0" if "final_observation" in infos else ""
        raise broken(
            "SAME_STEP",
            f"infos['final_obs'], which this environment does not give{old}",
            "put the last observations of ended episodes there, or set metadata['autoreset_mode'] to what it does",
        )
    space = layout.ob_space
    if (
        isinstance(space, gym.spaces.Dict)
        and isinstance(final, dict)
        or isinstance(space, gym.spaces.Tuple)
        and isinstance(final, tuple)
    ):
        final = list(
            gym.vector.utils.iterate(batched_space, final)
        )  # a batch like the observations; Gymnasium's own have an array of objects
    try:
        ob = final[k]
    except (IndexError, KeyError, TypeError):
        ob = None
    if ob is None:
        raise broken(
            "SAME_STEP",
            f"infos['final_obs'][{k}] where environment {k} has ended, which is {'None' if np.ndim(final) else safe_repr(final)}",
            "put the last observation of its episode there",
            k,
        )
    try:
        return check_observation(ob, space) if isinstance(space, gym.spaces.Box) else ob
    except EnvError as fault:
        raise EnvError(f"{fault.description}, in infos['final_obs'][{k}]", fault.hint, environment=k) from fault
