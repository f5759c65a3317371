"""Wrappers for Atari in addition to Gymnasium's preprocessing: episodes that end with a life, and FIRE at the start."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from common.envs.monitor import Monitor
from common.errors import UserError

FIXED_ARGUMENTS = ("frameskip", "obs_type", "continuous")  # chosen by AtariPreprocessing


@functools.cache
def load_ale() -> None:
    """Register the Atari games, and configure ALE and OpenCV, which this imports.

    Raises:
        ImportError: if one of them is not installed.
    """
    import ale_py
    import cv2

    gym.register_envs(ale_py)
    # before the first game, otherwise the banner is printed: AtariEnv sets the mode too late
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    # threads that scale one small screen only wait for each other: 1,240 steps/s with two threads, 1,600 with one
    cv2.setNumThreads(1)


class EpisodicLife(gym.Wrapper):
    """Ends the training's episode with each lost life; the game continues, and is reset only when it is over.

    Gymnasium's `terminal_on_life_loss=True` restarts the game at each lost life, so that nothing after the first life
    is ever seen.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.lives = 0
        self.game_over = True

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        """Step the game; `terminated` is also true at the loss of a life."""
        ob, rew, terminated, truncated, info = self.env.step(action)
        self.game_over = terminated or truncated
        lives = self.unwrapped.ale.lives()
        terminated = terminated or 0 < lives < self.lives
        self.lives = lives
        return ob, rew, terminated, truncated, info

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        """Continue the game with a no-op if it is not over; with a `seed`, always start a new game."""
        if self.game_over or seed is not None:
            ob, info = self.env.reset(seed=seed, options=options)
        else:
            ob, _, terminated, truncated, info = self.env.step(0)
            if terminated or truncated:
                ob, info = self.env.reset(options=options)
        self.game_over, self.lives = False, self.unwrapped.ale.lives()
        return ob, info


class FireReset(gym.Wrapper):
    """Presses FIRE after a reset, for games that wait for it."""

    def reset(self, **kwargs: Any) -> tuple[Any, dict]:
        """Reset, press FIRE, and reset again if that ended the game."""
        self.env.reset(**kwargs)
        ob, _, terminated, truncated, info = self.env.step(1)
        return self.env.reset(**kwargs) if terminated or truncated else (ob, info)


class FireOnLifeLoss(gym.Wrapper):
    """Presses FIRE after each lost life too: a policy trained with `EpisodicLife` may not have learned to press it."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.lives = 0

    def reset(self, **kwargs: Any) -> tuple[Any, dict]:
        """Start a new game."""
        result = self.env.reset(**kwargs)
        self.lives = self.unwrapped.ale.lives()
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        """Step the game, and press FIRE if a life was lost; the reward is that of all steps."""
        ob, rew, terminated, truncated, info = self.env.step(action)
        while 0 < self.unwrapped.ale.lives() < self.lives and not (terminated or truncated):
            self.lives = self.unwrapped.ale.lives()
            ob, more, terminated, truncated, info = self.env.step(1)
            rew += more
        self.lives = self.unwrapped.ale.lives()  # a game may also award lives
        return ob, rew, terminated, truncated, info


class ClipReward(gym.RewardWrapper):
    """Replaces the reward with its sign for training. The Monitor inside logs the score."""

    def reward(self, reward: Any) -> float:
        """Return -1.0, 0.0 or 1.0."""
        return float(np.sign(reward))


def make_atari(env_id: str, monitor_path: str | Path | None = None, training: bool = True, **kwargs: Any) -> gym.Env:
    """Make an Atari game with the preprocessing of Mnih et al. 2015.

    That is up to 30 no-ops, a frame skip of 4 with the maximum of the last two, 84 x 84 grey pixels, and 4 stacked
    frames.

    Args:
        env_id: made with `frameskip=1`; v5 ids keep their sticky actions.
        monitor_path: file of complete games and true scores.
        training: False leaves out episodic lives and reward clipping, for evaluation.
        kwargs: arguments of `gymnasium.make`.

    Raises:
        UserError: for an argument that the preprocessing chooses.
    """
    load_ale()
    if fixed := [key for key in FIXED_ARGUMENTS if key in kwargs]:
        raise UserError(
            f"{env_id}: invalid {fixed[0]}={kwargs[fixed[0]]!r}: the preprocessing of Atari games chooses it; "
            "leave it out"
        )
    # AtariPreprocessing reads the screens itself, and takes their shape from the space below. It discards the game's
    # own observations, four per step; reading the game's memory is cheaper than reading its screen.
    env: Any = gym.make(env_id, frameskip=1, obs_type="ram", **{"disable_env_checker": True} | kwargs)
    height, width = env.unwrapped.ale.getScreenDims()
    env = gym.wrappers.TransformObservation(env, lambda ram: ram, gym.spaces.Box(0, 255, (height, width), np.uint8))
    env = gym.wrappers.AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84, terminal_on_life_loss=False)
    env = Monitor(env, monitor_path)
    if training:
        env = EpisodicLife(env)
    if env.unwrapped.get_action_meanings()[1:2] == ["FIRE"]:
        env = FireReset(env if training else FireOnLifeLoss(env))
    env = gym.wrappers.FrameStackObservation(env, 4)
    return ClipReward(env) if training else env
