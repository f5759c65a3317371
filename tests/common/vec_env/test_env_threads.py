"""Environments stepped in several threads give the same segments as in one thread."""

import gymnasium as gym
import numpy as np
import pytest
from scripted import ScriptedEnv, ScriptedPolicy, passed_as

from baselines_ppo import MlpPolicy
from common.rollouts.collector import Collector
from common.vec_env.in_process import InProcessVectorEnv


def collect_segments(threads, kind, count=3):
    env, _ = passed_as(kind, num_envs=5)
    collector = Collector(env, ScriptedPolicy(ScriptedEnv), 5 * 9, threads=threads)
    collector.reset()
    return [collector.collect(np.random.default_rng(i)) for i in range(count)]


@pytest.mark.parametrize("kind", ["in_process", "monitored"])
@pytest.mark.parametrize("threads", [2, 3, 5, 9])
def test_segments_equal_those_of_one_thread(threads, kind):
    for one, several in zip(collect_segments(1, kind), collect_segments(threads, kind)):
        assert one.keys() == several.keys()
        for name in one:
            if name == "final_obs":
                assert [(t, k, ob.tolist()) for t, k, ob in one[name]] == [
                    (t, k, ob.tolist()) for t, k, ob in several[name]
                ]
            else:
                np.testing.assert_array_equal(one[name], several[name], err_msg=name)


def test_an_error_in_a_thread_is_raised():
    class Breaks(ScriptedEnv):
        def step(self, action):
            if self.k == 4 and self.episode == 1:
                raise RuntimeError("broken axle")
            return super().step(action)

    collector = Collector(
        InProcessVectorEnv([Breaks(k) for k in range(5)]), ScriptedPolicy(ScriptedEnv), 5 * 9, threads=2
    )
    with pytest.raises(RuntimeError, match="broken axle"):
        collector.collect(np.random.default_rng(0))


def test_mujoco_in_threads_gives_the_same_segment_as_without():
    def segment(threads):
        env = InProcessVectorEnv([gym.make("InvertedPendulum-v4") for _ in range(4)])
        pi = MlpPolicy("pi", env.single_observation_space, env.single_action_space)
        # all means are 0, since batches of 2 and 4 round other means differently; actions are noise
        pi.weights["pol/final/w"].assign(0 * pi.weights["pol/final/w"])
        collector = Collector(env, pi, 4 * 50, threads=threads)
        collector.reset([1, 2, 3, 4])
        return collector.collect(np.random.default_rng(0))

    one, two = segment(1), segment(2)
    for name in ("ob", "ac", "rew", "terminated"):
        np.testing.assert_array_equal(two[name], one[name], err_msg=name)
    assert one["terminated"].any()
