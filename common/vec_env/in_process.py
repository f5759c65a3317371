"""K environments in one process, stepped one after another with as little overhead as possible."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from common.envs.env_checker import check_done_flags, check_observation, diagnose_step, from_exception, unpack_reset
from common.envs.monitor import Monitor, find_monitor
from common.errors import EnvError, UserError
from common.runtime.partition import even_splits
from common.storage.write_errors import WriteError


def env_range_label(start: int, end: int) -> str:
    """Return the name of environments `start` to `end` - 1, such as 'environments 2 to 3' or 'environment 2'."""
    return f"environments {start} to {end - 1}" if end > start + 1 else f"environment {start}"


class CopiedObservations:
    """A row of K observations of any kind, copied, because the next environment may write into the same arrays."""

    def __init__(self, num_envs: int) -> None:
        self.row: list[Any] = [None] * num_envs

    def __setitem__(self, index: tuple[int, int], ob: Any) -> None:
        self.row[index[1]] = copy.deepcopy(ob) if len(self.row) > 1 else ob

    def __getitem__(self, index: int) -> list[Any]:
        return self.row


class InProcessVectorEnv(gym.vector.VectorEnv):
    """K environments of one kind, stepped one after another in this process, with resets in the step of an end.

    Gymnasium's `SyncVectorEnv` copies observations and merges infos in every step, which takes long compared with a
    physics step of some tens of microseconds. Actions reach the environments unchanged. The returned arrays are reused:
    copy what must outlive the next step. An exception of an environment, or an invalid result, becomes an `EnvError`
    with the environment's number.

    Args:
        envs: the environments.

    Attributes:
        obs: [K, *shape] of a Box's observations; None for other spaces.
        rew, terminated, truncated: [K], of the last step.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, envs: Sequence[gym.Env]) -> None:
        self.envs = list(envs)
        self.num_envs = len(envs)
        self.single_observation_space, self.single_action_space = envs[0].observation_space, envs[0].action_space
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, self.num_envs)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, self.num_envs)
        self.spec, self.render_mode = envs[0].spec, envs[0].render_mode
        self.rew = np.zeros(self.num_envs)
        self.terminated, self.truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        space = self.single_observation_space
        is_box = isinstance(space, gym.spaces.Box)
        self.obs = np.zeros((self.num_envs, *space.shape), space.dtype) if is_box else None
        self.dtype, self.nbytes = (space.dtype, self.obs[0].nbytes) if is_box else (None, None)

    @property
    def monitors(self) -> list[Monitor]:
        """The environments' `Monitor`s; an empty list if any environment has none."""
        found = [find_monitor(env) for env in self.envs]
        return [] if None in found else found

    def bounds(self, groups: int) -> list[int]:
        """Return where groups of environments begin and end that different threads may step."""
        return even_splits(self.num_envs, min(groups, self.num_envs))

    def subset(self, start: int, end: int) -> InProcessVectorEnv:
        """Return environments `start` to `end` - 1 as a vector environment."""
        return InProcessVectorEnv(self.envs[start:end])

    def _batched(self, obs: Sequence[Any]) -> Any:
        if self.obs is not None:
            return self.obs
        space = self.single_observation_space
        empty = gym.vector.utils.create_empty_array(space, self.num_envs)
        return gym.vector.utils.concatenate(space, obs, empty)

    def reset_one(self, k: int, **kwargs: Any) -> Any:
        """Reset environment `k` with the arguments `kwargs`; return its observation."""
        try:
            ob = unpack_reset(self.envs[k].reset(**kwargs))
            return ob if self.obs is None else check_observation(ob, self.single_observation_space)
        except Exception as error:
            self._raise(error, k, "reset")

    def _raise(self, error: Exception, k: int, method: str, result: Any = None) -> NoReturn:
        """Raise `error` as an `EnvError` of environment `k`; errors of the user or of the disk are raised unchanged.

        Args:
            error: what was raised.
            k: number of the environment.
            method: 'step' or 'reset'.
            result: what the environment returned last.
        """
        if isinstance(error, (UserError, WriteError)):
            raise error
        fault: Exception = error
        if not isinstance(error, EnvError):
            # no inner frame: it was raised here, because the environment's result is invalid
            inner = error.__traceback__.tb_next if error.__traceback__ else None
            if inner or method == "reset":
                fault = from_exception(error, method, inner)
            else:
                fault = diagnose_step(result, self.single_observation_space, error)
            fault.__cause__ = error
        if fault.environment is None:
            fault.add_context(environment=k, env_id=getattr(self.spec, "id", None))
        raise fault

    def reset(self, *, seed: Sequence[int] | None = None, options: dict | None = None) -> tuple[Any, dict]:
        """Start new episodes. `seed` has one seed per environment, or is None."""
        obs = CopiedObservations(self.num_envs) if self.obs is None else self.obs[None]
        for k in range(self.num_envs):
            obs[0, k] = self.reset_one(k, seed=seed[k] if seed else None, options=options)
        return self._batched(obs[0]), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict]:
        """Step every environment.

        Where an episode ended, `infos["final_obs"]` and `infos["final_info"]` hold its last observation and info, and
        the returned observation is the first of the next episode.
        """
        obs = CopiedObservations(self.num_envs) if self.obs is None else self.obs[None]
        self.terminated[:], self.truncated[:] = False, False
        infos: dict[str, Any] = {}
        ended = InProcessVectorEnv.step_into(self, actions, obs, 0, self.rew[None], 0)  # a subclass may leave out infos
        for k, ob, info, terminated, truncated in ended:
            self.terminated[k], self.truncated[k] = terminated, truncated
            infos.setdefault("final_obs", np.full(self.num_envs, None, object))[k] = ob
            infos.setdefault("final_info", {})[k] = info
        return self._batched(obs[0]), self.rew, self.terminated, self.truncated, infos

    def step_into(self, actions: Any, obs: Any, ob_row: int, rew: np.ndarray, rew_row: int) -> Sequence[tuple]:
        """Step every environment, into `obs[ob_row, k]` and `rew[rew_row, k]`. The collector's inner loop.

        A derived class may leave `rew` unfilled, and the Monitors' episodes uncounted, until `write_rewards`.

        Returns:
            [(k, final observation, final info, terminated, truncated)] of the episodes that ended.

        Raises:
            EnvError: for an exception of an environment, or an invalid result.
        """
        ended, result, dtype, nbytes = (), None, self.dtype, self.nbytes
        try:
            for k, env in enumerate(self.envs):
                result = env.step(actions[k])
                ob, reward, terminated, truncated, info = result
                try:
                    rew[rew_row, k] = reward
                except ValueError:  # an array of one number has a shape
                    rew[rew_row, k] = np.asarray(reward).item()
                # NumPy would broadcast a number over the row. Bytes are compared in half the time of shapes; a shape
                # that differs but has as many bytes does not fit into the row.
                if dtype is not None and (getattr(ob, "dtype", None) is not dtype or ob.nbytes != nbytes):
                    ob = check_observation(ob, self.single_observation_space)
                if terminated or truncated:
                    check_done_flags(terminated, truncated)  # only now: ends are rare, and false values are not text
                    # copies: some environments write the next observation and info into the same objects
                    ended = (*ended, (k, copy.deepcopy(ob), copy.copy(info), bool(terminated), bool(truncated)))
                    ob = self.reset_one(k)
                obs[ob_row, k] = ob
        except Exception as error:
            self._raise(error, k, "step", result)
        return ended

    def write_rewards(self) -> None:
        """Fill the rows of `rew` that `step_into` has left unfilled: none here."""

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()
