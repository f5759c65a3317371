"""Environments as the collector steps them: K at once, and whatever their autoreset mode, episodes that end in the step that ended them."""
import copy
import sys

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from common.errors import UserError
from common.monitor import find_monitor


def even_bounds(rows, groups):
    """Where each of `groups` groups of `rows` rows begins, and where the last ends; sizes differ by one at the most."""
    return np.linspace(0, rows, groups + 1).astype(int).tolist()


class InProcessVectorEnv(gym.vector.VectorEnv):
    """K environments of one kind, stepped one after the other in this process, reset in the step that ends an episode.

    Gymnasium's `SyncVectorEnv` copies observations and merges infos at every step; beside a physics of some tens of microseconds that counts.
    Actions reach the environments as they are given. The arrays it returns are its own: copy what must outlive the next step.
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
        plain = isinstance(self.single_observation_space, gym.spaces.Box)
        self.obs = np.zeros((self.num_envs, *self.single_observation_space.shape), self.single_observation_space.dtype) if plain else None

    @property
    def monitors(self):
        """The environments' `Monitor`s; none if one has none."""
        found = [find_monitor(env) for env in self.envs]
        return [] if None in found else found

    def bounds(self, groups):
        """Where groups of environments begin and end that may be stepped by threads of their own."""
        return even_bounds(self.num_envs, min(groups, self.num_envs))

    def part(self, start, end):
        """Environments `start` to `end` - 1 alone."""
        return InProcessVectorEnv(self.envs[start:end])

    def _batched(self, obs):
        return self.obs if self.obs is not None else gym.vector.utils.concatenate(
            self.single_observation_space, obs, gym.vector.utils.create_empty_array(self.single_observation_space, self.num_envs))

    def reset(self, *, seed=None, options=None):
        """Starts new episodes; `seed` is a list with one seed an environment, or None."""
        obs = [env.reset(seed=seed[k] if seed else None, options=options)[0] for k, env in enumerate(self.envs)]
        if self.obs is not None:
            self.obs[:] = obs
        return self._batched(obs), {}

    def step(self, actions):
        """One step of each. Where one has ended, `infos["final_obs"]` and `infos["final_info"]` hold its end, and the observation
        is that of its next episode."""
        obs = np.empty((1, self.num_envs), object) if self.obs is None else self.obs[None]
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
        """
        ended = ()
        for k, env in enumerate(self.envs):
            ob, rew[rew_row, k], terminated, truncated, info = env.step(actions[k])
            if terminated or truncated:
                # a copy: some environments write their next observation into the same array
                ended = (*ended, (k, copy.deepcopy(ob), info, bool(terminated), bool(truncated)))
                ob, _ = env.reset()
            obs[ob_row, k] = ob
        return ended

    def close_extras(self, **kwargs):
        for env in self.envs:
            env.close()


class Stepper:
    """What the collector needs of an `Env` or a `VectorEnv`, of any autoreset mode.

    Args:
        env: the environment.
        encoder: an `ObservationEncoder` of its observations.

    Attributes:
        num_envs: K.
        squeeze: True for an `Env`: segments are then [T, ...] rather than [T, K, ...].

    Raises:
        UserError: for anything else, such as an environment of old Gym, and for a `VectorEnv` that does not say how it resets.
    """

    def __init__(self, env, encoder):
        self.squeeze = not isinstance(env, gym.vector.VectorEnv)
        if self.squeeze and not isinstance(env, gym.Env):
            raise UserError(f"env is a {type(env).__name__}, not a gymnasium.Env or VectorEnv; build it with gymnasium.make(...), and wrap "
                            "an environment of old Gym (4-tuple step) with shimmy")
        self.env = InProcessVectorEnv([env]) if self.squeeze else env
        self.num_envs = self.env.num_envs
        self.mode = self.env.metadata.get("autoreset_mode")
        if not isinstance(self.mode, AutoresetMode):
            raise UserError(f"{type(env).__name__}.metadata['autoreset_mode'] is {self.mode!r}; set it to the AutoresetMode that the vector "
                            "environment follows (NEXT_STEP, SAME_STEP or DISABLED)")
        self.encoder = encoder
        space = self.env.single_action_space
        self.low, self.high = (space.low, space.high) if isinstance(space, gym.spaces.Box) else (None, None)
        self.ours = hasattr(self.env, "step_into")
        self.as_int = self.ours and isinstance(space, gym.spaces.Discrete)
        self.waiting = np.zeros(self.num_envs, bool)  # NEXT_STEP: the coming step only resets these

    def part(self, start, end):
        """A stepper of environments `start` to `end` - 1 alone."""
        if (start, end) == (0, self.num_envs):
            return self
        part = copy.copy(self)
        part.env, part.num_envs = self.env.part(start, end), end - start
        return part

    def reset(self, seeds=None):
        """New episodes everywhere; returns encoded observations [K, *shape]."""
        try:
            obs, _ = self.env.reset(seed=seeds)
        except gym.error.Error:
            if seeds is None or "Seed must be" not in str(sys.exc_info()[1]):
                raise
            obs, _ = self.env.reset(seed=seeds[0])  # an environment that is vectorised inside has one generator, and one seed
        self.waiting[:] = False
        return self.encoder.batch(obs, self.env.observation_space)

    def step(self, actions, t, obs, rew, valid):
        """Steps all environments, from time step `t` of a segment to the next.

        Args:
            actions: [K, *sample_shape], clipped here to a Box's bounds.
            t: time step.
            obs: [T + 1, K, *shape]; row t + 1 is filled with encoded observations, of the next episode where one has ended.
            rew: [T, K]; row t is filled.
            valid: [T, K] bool; row t is set False for a NEXT_STEP environment's reset, whose action and reward mean nothing.

        Returns:
            [(k, final observation encoded, terminated, truncated)] of the episodes that ended.
        """
        if self.low is not None:
            actions = np._core.umath.clip(actions, self.low, self.high)  # np.clip without its layers of Python
        elif self.as_int:
            actions = actions.tolist()
        if not self.ours:
            return self._step_vector_env(actions, obs[t + 1], rew[t], valid[t])
        if self.encoder.as_is:
            ended = self.env.step_into(actions, obs, t + 1, rew, t)
        else:
            raw = np.empty((1, self.num_envs), object)
            ended = self.env.step_into(actions, raw, 0, rew, t)
            for k, ob in enumerate(raw[0]):
                obs[t + 1, k] = self.encoder.one(ob)
        return [(k, self.encoder.one(ob), terminated, truncated) for k, ob, _, terminated, truncated in ended] if ended else ended

    def _step_vector_env(self, actions, obs, rew, valid):
        batch, rew[:], terminated, truncated, infos = self.env.step(actions)
        obs[:] = self.encoder.batch(batch, self.env.observation_space)
        valid[:] = ~self.waiting
        ended = (terminated | truncated) & valid
        self.waiting[:] = ended if self.mode is AutoresetMode.NEXT_STEP else False
        if not ended.any():
            return ()
        same_step = self.mode is AutoresetMode.SAME_STEP
        ends = [(k, self.encoder.one(infos["final_obs"][k]) if same_step else obs[k].copy(), bool(terminated[k]), bool(truncated[k]))
                for k in np.flatnonzero(ended)]
        if self.mode is AutoresetMode.DISABLED:
            batch, _ = self.env.reset(options={"reset_mask": ended})
            obs[:] = self.encoder.batch(batch, self.env.observation_space)
        return ends
