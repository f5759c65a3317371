"""Environments as the collector steps them: whatever their autoreset mode, episodes that end in the step that ended them."""
import copy
import sys

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from common.checks import in_brief, shown
from common.env_faults import raised
from common.errors import EnvironmentFault, UserError
from common.spaces import in_one_line
from common.vec_env import InProcessVectorEnv
from common.writing import CannotWrite


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
        self.dtype = space.dtype
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
            try:
                obs, _ = self.env.reset(seed=seeds)
            except gym.error.Error:
                if seeds is None or "Seed must be" not in str(sys.exc_info()[1]):
                    raise
                obs, _ = self.env.reset(seed=seeds[0])  # an environment that is vectorised inside has one generator, and one seed
            self.waiting[:] = False
            return self.encoder.batch(obs, self.env.observation_space)
        except (EnvironmentFault, UserError, CannotWrite):
            raise
        except Exception as error:
            raise self._of_one_of_them(error, "reset") from error

    def step(self, actions, t, obs, rew, valid):
        """Steps all environments, from time step `t` of a segment to the next.

        Args:
            actions: [K, *sample_shape], clipped here to a Box's bounds, and handed on in their space's dtype.
            t: time step.
            obs: [T + 1, K, *shape]; row t + 1 is filled with encoded observations, of the next episode where one has ended.
            rew: [T, K]; row t is filled.
            valid: [T, K] bool; row t is set False for a NEXT_STEP environment's reset, whose action and reward mean nothing.

        Returns:
            [(k, final observation encoded, terminated, truncated)] of the episodes that ended.
        """
        if self.low is not None:
            actions = np._core.umath.clip(actions, self.low, self.high)  # np.clip without its layers of Python
        if self.as_int:
            actions = actions.tolist()
        elif self.dtype is not None and actions.dtype != self.dtype:
            actions = actions.astype(self.dtype)
        if not self.ours:
            return self._step_vector_env(actions, obs[t + 1], rew[t], valid[t])
        if self.encoder.as_is:
            ended = self.env.step_into(actions, obs, t + 1, rew, t)
        else:
            raw = np.empty((1, self.num_envs), object)
            ended = self.env.step_into(actions, raw, 0, rew, t)
            for k, ob in enumerate(raw[0]):
                obs[t + 1, k] = self._encoded(ob, k)
        return [(k, self._encoded(ob, k), terminated, truncated) for k, ob, _, terminated, truncated in ended] if ended else ended

    def _encoded(self, ob, k):
        try:
            return self.encoder.one(ob)
        except Exception as error:
            fault = EnvironmentFault(f"returned the observation {shown(ob)}, which is not of its space {in_one_line(self.encoder.space)} "
                                     f"({type(error).__name__}: {in_brief(str(error))})", "return one of its space")
            fault.environment, fault.env_id = k, getattr(self.env.spec, "id", None)
            raise fault from error

    def _of_one_of_them(self, error, method):
        """The fault of a `VectorEnv` that does not say which of its environments has one."""
        fault = raised(error, method, error.__traceback__)
        fault.who = f"one of the {self.num_envs} environments of {type(self.env).__name__}"
        return fault

    def _step_vector_env(self, actions, obs, rew, valid):
        try:
            return self._take_in(self.env.step(actions), obs, rew, valid)
        except (EnvironmentFault, UserError, CannotWrite):
            raise
        except Exception as error:
            raise self._of_one_of_them(error, "step") from error

    def _take_in(self, result, obs, rew, valid):
        batch, rew[:], terminated, truncated, infos = result
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
