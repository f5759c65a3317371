"""Small tasks, trained for seconds, whose returns are held to what the same program earned on forty other seeds."""
from dataclasses import dataclass, field
from functools import partial

import gymnasium as gym
import numpy as np
from small_envs import Bandit, FarAway, Identity, Ring

from baselines_ppo import MlpPolicy, learn
from baselines_ppo.play import evaluate
from baselines_ppo.presets import PRESETS
from common.vec_env import InProcessVectorEnv

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


# budgets end before everything is perfect, so that learning more slowly is seen
TASKS = {
    "CartPole-v1": Task(partial(gym.make, "CartPole-v1"), "classic", 8_192, compiled=True),
    "Pendulum-v1": Task(partial(gym.make, "Pendulum-v1"), "classic", 40_000, {"gamma": 0.95}, compiled=True),
    "InvertedPendulum-v4": Task(partial(gym.make, "InvertedPendulum-v4"), "mujoco", 10_240, compiled=True),
    "identity, Discrete 10": Task(partial(Identity, gym.spaces.Discrete(10)), "classic", 3_072),
    "identity, MultiDiscrete [3, 3]": Task(partial(Identity, gym.spaces.MultiDiscrete([3, 3])), "classic", 4_000),
    "identity, MultiBinary 3": Task(partial(Identity, gym.spaces.MultiBinary(3)), "classic", 3_000),
    "identity, Box 1": Task(partial(Identity, gym.spaces.Box(-1, 1, (1,), np.float32)), "classic", 10_000),
    "far away": Task(FarAway, "mujoco", 6_000, {"optim_stepsize": 1e-3}),
    "ring": Task(Ring, "classic", 8_000, evaluated_in=partial(Ring, limit=100)),
    "bandit": Task(Bandit, "classic", 20_000, {"entcoeff": 0.1}, stochastic=True, episodes=100),
}


def score(name, seed):
    """Train on a task with a seed; the final policy's mean return."""
    task = TASKS[name]
    preset = PRESETS[task.preset]

    def policy(*args):
        pi = MlpPolicy(*args, **preset.policy["mlp"] | task.policy)
        pi.xla = task.compiled
        return pi

    env = InProcessVectorEnv([task.make() for _ in range(preset.num_envs)])
    pi = learn(env, policy, max_timesteps=task.steps, seed=seed, **preset.learn | task.settings)
    env.close()
    returns, _ = evaluate(pi, (task.evaluated_in or task.make)(), task.episodes, task.stochastic, EVALUATION_SEED)
    return float(returns.mean())
