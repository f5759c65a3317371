"""Staggered first episodes: which episodes end early, at which step, and what the learner gets."""

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from scripted import ScriptedPolicy

from common.envs.monitor import Monitor
from common.envs.stagger import StaggeredFirstEpisode
from common.rollouts.collector import Collector
from common.vec_env.factory import make_vector_env
from common.vec_env.in_process import InProcessVectorEnv


class Endless(gym.Env):
    """Observes the step of its episode; terminates after `life` steps."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, life=None):
        self.life = life

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.array([0], np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.array([self.steps], np.float32), 1.0, self.steps == self.life, False, {}


def ends(env, steps):
    """Return (step from 1, terminated, truncated) of each episode end; after each one the environment is reset unseeded."""
    found = []
    for t in range(1, steps + 1):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            found.append((t, terminated, truncated))
            env.reset()
    return found


def test_only_the_first_episode_after_a_seeded_reset_ends_early():
    env = StaggeredFirstEpisode(gym.wrappers.TimeLimit(Endless(), 10), 4)
    env.reset(seed=0)
    assert ends(env, 25) == [(4, False, True), (14, False, True), (24, False, True)]
    env.reset(seed=1)
    assert ends(env, 15) == [(4, False, True), (14, False, True)]
    env.reset()
    assert ends(env, 15) == [(10, False, True)]


@pytest.mark.parametrize("life, first", [(3, (3, True, False)), (4, (4, True, True)), (5, (4, False, True))])
def test_episode_that_terminates_before_the_cut_is_unchanged(life, first):
    env = StaggeredFirstEpisode(Endless(life), 4)
    env.reset(seed=0)
    found = ends(env, 20)
    assert found[0] == first and found[1:] == [(first[0] + life * i, True, False) for i in range(1, len(found))]


def test_shortened_episode_is_bootstrapped_and_not_recorded():
    monitored = Monitor(gym.wrappers.TimeLimit(Endless(), 10))
    collector = Collector(InProcessVectorEnv([StaggeredFirstEpisode(monitored, 4)]), ScriptedPolicy(Endless()), 15)
    collector.reset([0])
    seg = collector.collect(np.random.default_rng(0))
    assert np.flatnonzero(seg["truncated"]).tolist() == [3, 13] and not seg["terminated"].any()
    assert [(t, k, ob.tolist()) for t, k, ob in seg["final_obs"]] == [(3, 0, [4]), (13, 0, [10])]
    assert (seg["ep_rets"], seg["ep_lens"]) == ([10.0], [10])


@pytest.mark.parametrize("ranks, num_envs, workers", [(1, 4, 0), (2, 2, 0), (1, 4, 2)])
def test_episode_ends_are_spread_over_the_environments_of_all_ranks(ranks, num_envs, workers):
    found = []
    for rank in range(ranks):
        env = make_vector_env("Pendulum-v1", num_envs, rank, workers=workers, stagger=ranks)  # 200 steps
        pendulum = SimpleNamespace(observation_space=env.single_observation_space, action_space=env.single_action_space)
        collector = Collector(env, ScriptedPolicy(pendulum), 401 * num_envs)
        collector.reset([0] * num_envs)
        found += [
            (1 + np.flatnonzero(column)).tolist()
            for column in collector.collect(np.random.default_rng(0))["truncated"].T
        ]
        env.close()
    assert found == [[200, 400], [50, 250], [100, 300], [150, 350]]


def test_no_episode_ends_early_without_a_time_limit():
    gym.register("Endless-v0", lambda: Endless())
    try:
        env = make_vector_env("Endless-v0", 2, stagger=1)
    finally:
        del gym.registry["Endless-v0"]
    assert not any(isinstance(inner, StaggeredFirstEpisode) for inner in env.envs)
