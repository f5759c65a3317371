"""Small tasks, trained for seconds, whose returns are compared with those of a hundred other seeds of the same program."""

import json
from dataclasses import dataclass, field
from functools import partial

import gymnasium as gym
import numpy as np
from small_envs import Bandit, FarAway, Identity, Ring

from baselines_ppo import MlpPolicy, learn
from baselines_ppo.config.presets import PRESETS
from common.rollouts.evaluation import evaluate
from common.vec_env.in_process import InProcessVectorEnv

EVALUATION_SEED = 10_000


@dataclass(frozen=True)
class Task:
    """A training and its score: the mean return of the final policy.

    Attributes:
        make: function () -> environment.
        preset: whose settings.
        steps: budget.
        settings, policy: what differs from the preset.
        stochastic, episodes: of the evaluation.
        evaluated_in: function () -> environment of the evaluation; None for `make`.
        compiled: by XLA, as a user's training is; a training of a few thousand steps is shorter than its compilation.
    """

    make: object
    preset: str
    steps: int
    settings: dict = field(default_factory=dict)
    policy: dict = field(default_factory=dict)
    stochastic: bool = False
    episodes: int = 20
    evaluated_in: object = None
    compiled: bool = False


# Budgets end before returns are perfect, so that slower learning is detected. Tasks whose most likely action is soon correct
# score sampled actions. InvertedPendulum's budget suffices for perfect returns: with a smaller one, returns vary too much.
TASKS = {
    "CartPole-v1": Task(partial(gym.make, "CartPole-v1"), "classic", 8_192, stochastic=True, compiled=True),
    "Pendulum-v1": Task(partial(gym.make, "Pendulum-v1"), "classic", 40_000, {"gamma": 0.95}, compiled=True),
    "InvertedPendulum-v4": Task(partial(gym.make, "InvertedPendulum-v4"), "mujoco", 30_720, compiled=True),
    "identity, Discrete 10": Task(partial(Identity, gym.spaces.Discrete(10)), "classic", 8_192, stochastic=True),
    "identity, MultiDiscrete [3, 3]": Task(
        partial(Identity, gym.spaces.MultiDiscrete([3, 3])), "classic", 6_144, stochastic=True
    ),
    "identity, MultiBinary 3": Task(partial(Identity, gym.spaces.MultiBinary(3)), "classic", 6_144, stochastic=True),
    "identity, Box 1": Task(partial(Identity, gym.spaces.Box(-1, 1, (1,), np.float32)), "classic", 10_000),
    # what a mutation must show on: the observation filter, bootstrapping at time limits, the entropy bonus
    "far away": Task(
        FarAway, "mujoco", 6_144, {"optim_stepsize": 1e-3, "timesteps_per_actorbatch": 1024}, stochastic=True
    ),
    "ring": Task(Ring, "classic", 8_192, stochastic=True, evaluated_in=partial(Ring, limit=100)),
    "bandit": Task(
        Bandit,
        "classic",
        6_144,
        {"entcoeff": 0.5},
        stochastic=True,
        episodes=100,
        evaluated_in=partial(Bandit, fresh=True),
    ),
}


def settings_of(name):
    """The settings of a task beyond the defaults, as JSON values. A reference is valid for these settings only."""
    task = TASKS[name]
    preset = PRESETS[task.preset]
    own = {
        "preset": task.preset,
        "steps": task.steps,
        "num_envs": preset.num_envs,
        "learn": preset.learn | task.settings,
        "policy": preset.policy["mlp"] | task.policy,
        "stochastic": task.stochastic,
        "episodes": task.episodes,
    }
    return json.loads(json.dumps(own))


def score(name, seed):
    """Train on a task with a seed; the final policy's mean return."""
    task, settings = TASKS[name], settings_of(name)

    def policy(*args):
        pi = MlpPolicy(*args, **settings["policy"])
        pi.xla = task.compiled
        return pi

    env, test_env = (
        InProcessVectorEnv([task.make() for _ in range(settings["num_envs"])]),
        (task.evaluated_in or task.make)(),
    )
    pi = learn(env, policy, max_timesteps=task.steps, seed=seed, **settings["learn"])
    returns, _ = evaluate(pi, test_env, task.episodes, task.stochastic, EVALUATION_SEED)
    env.close()
    test_env.close()
    return float(returns.mean())
