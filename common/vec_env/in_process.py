"""K environments at once in one process, stepped without anything that costs."""

import copy

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from common.envs.env_checker import check_done_flags, check_observation, diagnose_step, raised, unpack_reset
from common.envs.monitor import find_monitor
from common.errors import EnvError, UserError
from common.runtime.partition import even_splits
from common.storage.write_errors import WriteError


def called(start, end):
    """What environments `start` to `end` - 1 are called: 'environments 2 to 3', 'environment 2'."""
    return f"environments {start} to {end - 1}" if end > start + 1 else f"environment {start}"


class Copies:
    """One row of K observations, whatever they are, each copied when it comes: the next environment may write into the same arrays."""

    def __init__(self, num_envs):
        self.row = [None] * num_envs

    def __setitem__(self, index, ob):
        self.row[index[1]] = copy.deepcopy(ob) if len(self.row) > 1 else ob

    def __getitem__(self, index):
        return self.row


class InProcessVectorEnv(gym.vector.VectorEnv):
    """K environments of one kind, stepped one after the other in this process, reset in the step that ends an episode.

    Gymnasium's `SyncVectorEnv` copies observations and merges infos at every step; beside a physics of some tens of microseconds that counts.
    Actions reach the environments as they are given. The arrays it returns are its own: copy what must outlive the next step. What an
    environment raises, or returns that is no step's or reset's result, comes out as an `EnvError` with its number.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, envs):
        self.envs, self.num_envs = list(envs), len(envs)
        self.single_observation_space, self.single_action_space = envs[0].observation_space, envs[0].action_space
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, self.num_envs)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, self.num_envs)
        self.spec, self.render_mode = envs[0].spec, envs[0].render_mode
        self.rew = np.zeros(self.num_envs)
        self.terminated, self.truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        space = self.single_observation_space
        plain = isinstance(space, gym.spaces.Box)
        self.obs = np.zeros((self.num_envs, *space.shape), space.dtype) if plain else None
        self.dtype, self.nbytes = (space.dtype, self.obs[0].nbytes) if plain else (None, None)

    @property
    def monitors(self):
        """The environments' `Monitor`s; none if one has none."""
        found = [find_monitor(env) for env in self.envs]
        return [] if None in found else found

    def bounds(self, groups):
        """Where groups of environments begin and end that may be stepped by threads of their own."""
        return even_splits(self.num_envs, min(groups, self.num_envs))

    def part(self, start, end):
        """Environments `start` to `end` - 1 alone."""
        return InProcessVectorEnv(self.envs[start:end])

    def _batched(self, obs):
        return (
            self.obs
            if self.obs is not None
            else gym.vector.utils.concatenate(
                self.single_observation_space,
                obs,
                gym.vector.utils.create_empty_array(self.single_observation_space, self.num_envs),
            )
        )

    def first(self, k, **kwargs):
        """The first observation of a new episode of environment `k`; `kwargs` are those of its `reset`."""
        try:
            ob = unpack_reset(self.envs[k].reset(**kwargs))
            return ob if self.obs is None else check_observation(ob, self.single_observation_space)
        except Exception as error:
            self._raise(error, k, "reset")

    def _raise(self, error, k, method, result=None):
        """Raise an error in `method`, step or reset, of environment `k` as the environment's fault, or as it is if it is the user's or the disk's.
        `result` is what the environment returned last."""
        if isinstance(error, (UserError, WriteError)):
            raise error
        fault = error
        if not isinstance(error, EnvError):
            inwards = error.__traceback__.tb_next  # none: it was raised here, by what the environment returned
            fault = (
                raised(error, method, inwards)
                if inwards or method == "reset"
                else diagnose_step(result, self.single_observation_space, error)
            )
            fault.__cause__ = error
        if fault.environment is None:
            fault.add_context(environment=k, env_id=getattr(self.spec, "id", None))
        raise fault

    def reset(self, *, seed=None, options=None):
        """Starts new episodes; `seed` is a list with one seed an environment, or None."""
        obs = Copies(self.num_envs) if self.obs is None else self.obs[None]
        for k in range(self.num_envs):
            obs[0, k] = self.first(k, seed=seed[k] if seed else None, options=options)
        return self._batched(obs[0]), {}

    def step(self, actions):
        """One step of each. Where one has ended, `infos["final_obs"]` and `infos["final_info"]` hold its end, and the observation
        is that of its next episode."""
        obs = Copies(self.num_envs) if self.obs is None else self.obs[None]
        self.terminated[:], self.truncated[:] = False, False
        infos = {}
        for k, ob, info, terminated, truncated in self.step_into(actions, obs, 0, self.rew[None], 0):
            self.terminated[k], self.truncated[k] = terminated, truncated
            infos.setdefault("final_obs", np.full(self.num_envs, None, object))[k] = ob
            infos.setdefault("final_info", {})[k] = info
        return self._batched(obs[0]), self.rew, self.terminated, self.truncated, infos

    def step_into(self, actions, obs, ob_row, rew, rew_row):
        """One step of each, into `obs[ob_row, k]` and `rew[rew_row, k]`: for the collector, where every microsecond is paid a million times.

        Returns:
            [(k, final observation, final info, terminated, truncated)] of the episodes that ended.

        Raises:
            EnvironmentFault: for what an environment raises, or returns that is no step's result.
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
                # NumPy would spread a number over the row; bytes are compared in half the time of shapes, and a shape that hides there does not fit
                if dtype is not None and (getattr(ob, "dtype", None) is not dtype or ob.nbytes != nbytes):
                    ob = check_observation(ob, self.single_observation_space)
                if terminated or truncated:
                    check_done_flags(terminated, truncated)  # only now: an end is rare, and what is no end is no text
                    # copies: some environments write what comes next into the same array and the same dict
                    ended = (*ended, (k, copy.deepcopy(ob), copy.copy(info), bool(terminated), bool(truncated)))
                    ob = self.first(k)
                obs[ob_row, k] = ob
        except Exception as error:
            self._raise(error, k, "step", result)
        return ended

    def close_extras(self, **kwargs):
        for env in self.envs:
            env.close()
