"""What Atari needs beside Gymnasium's own preprocessing: episodes that end with a life while the game goes on, and a game that is started."""

import ale_py
import cv2
import gymnasium as gym
import numpy as np

from common.envs.monitor import Monitor
from common.errors import UserError

gym.register_envs(ale_py)
ale_py.ALEInterface.setLoggerMode(
    ale_py.LoggerMode.Error
)  # no banner; AtariEnv says the same, but only once the banner is out
cv2.setNumThreads(
    1
)  # to scale one small screen its threads only wait for each other: 1,240 steps/s with two, 1,600 with one

FIXED = ("frameskip", "obs_type", "continuous")  # what AtariPreprocessing decides


class EpisodicLife(gym.Wrapper):
    """A lost life ends the learner's episode; the game goes on, and is only reset when it is over.

    Gymnasium's `terminal_on_life_loss=True` restarts the game at each life, so that nothing past the first is ever seen.
    """

    def __init__(self, env):
        super().__init__(env)
        self.lives, self.game_over = 0, True

    def step(self, action):
        """`terminated` at the loss of a life, too; the last one's is the game's own."""
        ob, rew, terminated, truncated, info = self.env.step(action)
        self.game_over = terminated or truncated
        lives = self.unwrapped.ale.lives()
        terminated = terminated or 0 < lives < self.lives
        self.lives = lives
        return ob, rew, terminated, truncated, info

    def reset(self, *, seed=None, options=None):
        """Goes on with the game by a no-op if it is not over; a `seed` always starts a new one."""
        if self.game_over or seed is not None:
            ob, info = self.env.reset(seed=seed, options=options)
        else:
            ob, _, terminated, truncated, info = self.env.step(0)
            if terminated or truncated:
                ob, info = self.env.reset(options=options)
        self.game_over, self.lives = False, self.unwrapped.ale.lives()
        return ob, info


class FireReset(gym.Wrapper):
    """Presses FIRE after a reset, in games that wait for it."""

    def reset(self, **kwargs):
        """The observation after FIRE, or after another reset where FIRE has ended the game."""
        self.env.reset(**kwargs)
        ob, _, terminated, truncated, info = self.env.step(1)
        return self.env.reset(**kwargs) if terminated or truncated else (ob, info)


class FireOnLifeLoss(gym.Wrapper):
    """Presses FIRE, too, whenever a life is lost and the game goes on: a policy that was trained with `EpisodicLife` need not have learned it."""

    def __init__(self, env):
        super().__init__(env)
        self.lives = 0

    def reset(self, **kwargs):
        result = self.env.reset(**kwargs)
        self.lives = self.unwrapped.ale.lives()
        return result

    def step(self, action):
        """The reward of all steps, where there are several."""
        ob, rew, terminated, truncated, info = self.env.step(action)
        while 0 < self.unwrapped.ale.lives() < self.lives and not (terminated or truncated):
            self.lives = self.unwrapped.ale.lives()
            ob, more, terminated, truncated, info = self.env.step(1)
            rew += more
        self.lives = self.unwrapped.ale.lives()  # which a game may give, too
        return ob, rew, terminated, truncated, info


class ClipReward(gym.RewardWrapper):
    """The reward's sign: the learner's reward, while the Monitor inside logs the score."""

    def reward(self, reward):
        """-1.0, 0.0 or 1.0."""
        return float(np.sign(reward))


def make_atari(env_id, monitor_path=None, training=True, **kwargs):
    """An Atari game as Mnih et al. 2015 play it: up to 30 no-ops, skip 4 with maximum, grey 84 x 84, stack 4.

    Args:
        env_id: made with `frameskip=1`; v5 ids keep their sticky actions.
        monitor_path: where whole games and true scores are written.
        training: False leaves out episodic life and reward clipping, for evaluation.
        kwargs: for `gymnasium.make`.

    Raises:
        UserError: for an argument that the preprocessing fixes.
    """
    if fixed := [key for key in FIXED if key in kwargs]:
        raise UserError(
            f"{env_id}: {fixed[0]}={kwargs[fixed[0]]!r} cannot be chosen, the preprocessing of Atari games fixes it; leave it out"
        )
    # AtariPreprocessing reads its own screens, whose shape it takes from here: the game's own observations, four a step, are thrown away, and
    # its memory is sooner read than a screen
    env = gym.make(env_id, frameskip=1, obs_type="ram", **{"disable_env_checker": True} | kwargs)
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
