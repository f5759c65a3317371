"""Masks of an environment's valid actions: a wrapper that puts them into the observations."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from common.envs.mask_layout import (
    ACTION_MASK,
    OBSERVATION,
    MaskLayout,
    checked_mask,
    gives_mask,
    has_action_mask,
    masked_space,
)
from common.errors import EnvError, UserError
from common.formatting import describe_space

METHOD = "action_masks"  # sb3-contrib's name of the method that returns the current mask
OWN_MODULES = ("gymnasium.", "common.")
HOW_TO_GIVE_MASKS = (
    "define a method action_masks() that returns the current mask, or put info['action_mask'] into what reset and step "
    "return"
)


class ActionMaskWrapper(gym.Wrapper):
    """Puts the mask of an environment's valid actions into its observations.

    An observation is `{"action_mask": int8 [n], "observation": the environment's}`, where n is the number of choices of
    the action space (`MaskLayout`). At the end of an episode, where no action follows, all entries of the mask are 1,
    and the environment is not asked for one.

    Args:
        env: the environment.
        source: 'method', 'info' or 'observation': where the masks come from; None finds out (`mask_source`), and is
            'info' if nothing else is there.

    Raises:
        UserError: if the action space has no choices.
    """

    def __init__(self, env: gym.Env, source: str | None = None) -> None:
        super().__init__(env)
        self.layout = MaskLayout(env.action_space)
        if self.layout.n == 0:
            raise UserError(
                f"the action space {describe_space(env.action_space)} has no choices that a mask could rule out"
            )
        self.source = source or mask_source(env, look=False) or "info"
        inner = env.observation_space
        self.observation_space = masked_space(
            inner[OBSERVATION] if self.source == "observation" else inner, env.action_space
        )
        self.read_mask = env.get_wrapper_attr(METHOD) if self.source == "method" else None
        self.steps = 0
        self.seen = False

    def reset(self, **kwargs: Any) -> Any:
        """Start a new episode.

        Raises:
            EnvError: if there is no valid mask.
        """
        result = self.env.reset(**kwargs)
        self.steps = 0
        if not isinstance(result, tuple) or len(result) != 2:
            return result  # the caller reports it
        ob, info = result
        return self._masked(ob, self._mask(ob, info, "reset")), info

    def step(self, action: Any) -> Any:
        """Step the environment.

        Raises:
            EnvError: if the episode continues and there is no valid mask.
        """
        result = self.env.step(action)
        self.steps += 1
        if not isinstance(result, tuple) or len(result) != 5:
            return result  # the caller reports it
        ob, rew, terminated, truncated, info = result
        ended = _is_true(terminated) or _is_true(truncated)
        mask = np.ones(self.layout.n, np.uint8) if ended else self._mask(ob, info, "step")
        return self._masked(ob, mask), rew, terminated, truncated, info

    def _masked(self, ob: Any, mask: np.ndarray) -> dict[str, Any]:
        return {
            ACTION_MASK: mask.view(np.int8),
            OBSERVATION: ob[OBSERVATION] if self.source == "observation" else ob,
        }

    def _mask(self, ob: Any, info: Any, method: str) -> np.ndarray:
        try:
            if self.read_mask is not None:
                mask = self.read_mask()
            elif self.source == "observation":
                mask = ob[ACTION_MASK]
            elif isinstance(info, dict) and ACTION_MASK in info:
                mask = info[ACTION_MASK]
            else:
                raise missing_mask(method, self.seen)
            self.seen = True
            return checked_mask(self.layout, mask)
        except EnvError as fault:
            if method == "step":
                fault.description += f" after {self.steps} step{'s' * (self.steps != 1)} of its episode"
            raise


def _is_true(flag: Any) -> bool:
    """Whether a flag is true, which may be an array: the environment's checker reports it later."""
    return flag if type(flag) is bool else bool(np.any(flag))  # np.any takes five microseconds


def missing_mask(method: str, seen: bool) -> EnvError:
    """Return the error of an environment whose `method` gave no mask; `seen`: it gave one before."""
    if seen:
        return EnvError(
            f"returned an info without 'action_mask' from {method}, although an earlier one had it",
            "return info['action_mask'] from every reset and step",
        )
    return EnvError(f"gave no action mask in {method}", HOW_TO_GIVE_MASKS)


def mask_source(env: gym.Env, look: bool = True) -> str | None:
    """Return where an environment's masks come from: 'observation', 'method' or 'info'; None if it gives none.

    Args:
        env: the environment.
        look: whether the environment may be reset, to see whether its info has a mask. It is reset only if its actions
            have choices. Wrappers of Gymnasium around it, such as those that record videos or count episodes, do not
            notice it.
    """
    if gives_mask(env.observation_space, env.action_space):
        return "observation"
    if MaskLayout(env.action_space).n == 0:
        return None
    if env.has_wrapper_attr(METHOD) and callable(env.get_wrapper_attr(METHOD)):
        return "method"
    return "info" if look and _info_has_mask(env) else None


def _info_has_mask(env: gym.Env) -> bool:
    while isinstance(env, gym.Wrapper) and type(env).__module__.startswith(OWN_MODULES):
        env = env.env
    try:
        _, info = env.reset()
    except Exception:  # the first reset of the training reports it
        return False
    return isinstance(info, dict) and ACTION_MASK in info


def is_wrapped(env: Any) -> bool:
    """Whether an environment has an `ActionMaskWrapper` among its wrappers, which has checked its masks."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, ActionMaskWrapper):
            return has_action_mask(env.observation_space, env.action_space)
        env = env.env
    return False


def with_masks_of(env: gym.Env, enabled: bool | None) -> gym.Env:
    """Return a single environment with its masks in its observations.

    Args:
        env: the environment.
        enabled: True: it must give masks. None: if it gives some. False: return it as it is.

    Raises:
        UserError: if it gives none and must.
    """
    if enabled is False or is_wrapped(env):
        return env
    source = mask_source(env)
    if source is None:
        if enabled:
            raise no_masks(env)
        return env
    return ActionMaskWrapper(env, source)


def no_masks(env: Any) -> UserError:
    """Return the error for an environment that must give masks, and gives none."""
    space = getattr(env, "single_action_space", None) or env.action_space
    if MaskLayout(space).n == 0:
        return UserError(
            f"action_masks=True: the action space {describe_space(space)} has no choices that a mask could rule out; "
            "leave action_masks out"
        )
    return UserError(f"action_masks=True: {env_name(env)} gives no action masks; {HOW_TO_GIVE_MASKS}")


def env_name(env: Any) -> str:
    """Return an environment's id, or the name of its class."""
    return getattr(getattr(env, "spec", None), "id", None) or type(getattr(env, "unwrapped", env)).__name__
