"""`MujocoVectorEnv` is bit-identical to Gymnasium's environments, and is used only for what it knows."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.mujoco.half_cheetah_v4 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v4 import HopperEnv

from baselines_ppo import MlpPolicy, learn
from common.envs.factory import filter_mujoco_warnings
from common.envs.monitor import Monitor, find_monitor
from common.envs.stagger import StaggeredFirstEpisode
from common.errors import EnvError
from common.rollouts.collector import Collector
from common.vec_env.factory import make_vector_env
from common.vec_env.in_process import InProcessVectorEnv
from common.vec_env.mujoco.choice import fast_vector_env
from common.vec_env.mujoco.recognition import TASKS
from common.vec_env.mujoco.vector_env import MujocoVectorEnv

NAMES = {"halfcheetah": "HalfCheetah", "humanoidstandup": "HumanoidStandup", "walker2d": "Walker2d"}
OTHER_ARGUMENTS = [
    ("Ant-v4", {"use_contact_forces": True, "contact_force_range": (-0.5, 0.5)}),
    ("Ant-v5", {"include_cfrc_ext_in_observation": False, "frame_skip": 2, "healthy_z_range": (0.4, 0.7)}),
    ("Ant-v5", {"exclude_current_positions_from_observation": False, "forward_reward_weight": np.float64(0.3)}),
    ("HalfCheetah-v5", {"ctrl_cost_weight": np.float64(0.7), "frame_skip": 1, "max_episode_steps": 20}),
    ("Hopper-v4", {"terminate_when_unhealthy": False, "exclude_current_positions_from_observation": False}),
    ("Hopper-v5", {"healthy_reward": 3, "healthy_state_range": (-2.0, 2.0), "healthy_angle_range": (-0.1, 5.0)}),
    ("Walker2d-v4", {"healthy_z_range": (1.1, 1.3), "forward_reward_weight": 2, "max_episode_steps": None}),
    ("Walker2d-v5", {"terminate_when_unhealthy": False, "healthy_reward": 0.1}),
    ("Swimmer-v5", {"exclude_current_positions_from_observation": False, "forward_reward_weight": -1.0}),
    ("Humanoid-v4", {"exclude_current_positions_from_observation": False, "healthy_z_range": (1.2, 1.4)}),
    (
        "Humanoid-v5",
        {
            "include_cinert_in_observation": False,
            "include_qfrc_actuator_in_observation": False,
            "contact_cost_weight": 1e-2,
            "contact_cost_range": (0.0, 1.0),
        },
    ),
    ("HumanoidStandup-v5", {"include_cvel_in_observation": False, "impact_cost_range": (0.0, 1e-3)}),
    ("Reacher-v5", {"reward_dist_weight": 0.3, "reward_control_weight": 2}),
    ("Pusher-v5", {"reward_near_weight": 0.7, "frame_skip": 2}),
    ("InvertedDoublePendulum-v5", {"healthy_reward": 3}),
]


def env_id(module):
    task, version = module.rsplit("_", 1)
    words = task.split("_")
    return "".join(NAMES.get(word, word.capitalize()) for word in words) + f"-{version}"


IDS = [env_id(module) for module in TASKS]


def make_env(name, k=0, wrapped=True, **kwargs):
    filter_mujoco_warnings(renders=False)
    env = Monitor(gym.make(name, disable_env_checker=True, **kwargs))
    return StaggeredFirstEpisode(env, 7 + k) if wrapped else env


def both(name, num_envs, **kwargs):
    """The environments of Gymnasium, and the same with this package's formulas."""
    make = lambda: [make_env(name, k, **kwargs) for k in range(num_envs)]  # noqa: E731
    one, other = InProcessVectorEnv(make()), fast_vector_env(make())
    assert isinstance(other, MujocoVectorEnv)
    return one, other


def random_actions(space, steps, num_envs, seed=0):
    """Actions of all sizes: small ones keep an episode running, the largest are at the bounds."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(space.low, space.high, (steps, num_envs, *space.shape)) * rng.uniform(0, 1.2, (steps, 1, 1))
    return np.clip(actions, space.low, space.high).astype(np.float32)


def run(env, actions, start=None):
    """Everything that a run of actions gives, as bytes."""
    steps, num_envs = actions.shape[:2]
    space = env.single_observation_space
    obs = np.zeros((steps + 1, num_envs, *space.shape), space.dtype)
    rew = np.zeros((steps, num_envs))
    obs[0] = env.reset(seed=list(range(num_envs)))[0] if start is None else start
    ended = []
    for t in range(steps):
        for k, ob, _, terminated, truncated in env.step_into(actions[t], obs, t + 1, rew, t):
            ended.append((t, k, ob.tobytes(), terminated, truncated))
    env.write_rewards()
    episodes = [monitor.take_episodes() for monitor in env.monitors]
    return obs, rew, ended, episodes


def assert_equal(one, other, actions):
    (obs, rew, ended, episodes), (obs2, rew2, ended2, episodes2) = run(one, actions), run(other, actions)
    assert other.is_ready
    assert obs.tobytes() == obs2.tobytes() and rew.tobytes() == rew2.tobytes()
    assert ended == ended2 and len(ended) >= len(obs[0])
    assert episodes == episodes2
    for mine, theirs in zip(other.envs, one.envs):
        assert mine.get_wrapper_attr("_elapsed_steps") == theirs.get_wrapper_attr("_elapsed_steps")


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("num_envs", [1, 3])
def test_every_task_is_bit_identical(name, num_envs):
    one, other = both(name, num_envs)
    assert_equal(one, other, random_actions(one.single_action_space, 80, num_envs))


@pytest.mark.parametrize(("name", "arguments"), OTHER_ARGUMENTS)
def test_other_arguments_are_read_from_the_environments(name, arguments):
    one, other = both(name, 2, **arguments)
    assert_equal(one, other, random_actions(one.single_action_space, 150, 2))


def test_segments_longer_than_the_memory_of_steps_are_bit_identical():
    one, other = both("HalfCheetah-v5", 2, max_episode_steps=200)
    assert_equal(one, other, random_actions(one.single_action_space, 2 * other.capacity + 88, 2))


def test_a_reset_counts_the_steps_before_it():
    one, other = both("Hopper-v4", 1, max_episode_steps=40)
    actions = random_actions(one.single_action_space, 5, 1)
    for env in (one, other):
        env.reset(seed=[0])
        for action in actions:
            env.step_into(action, np.zeros((2, 1, 11)), 1, np.zeros((1, 1)), 0)
    assert_equal_runs(run(one, actions), run(other, actions))


@pytest.mark.slow
@pytest.mark.parametrize("name", IDS)
def test_ten_thousand_steps_are_bit_identical(name):
    one, other = both(name, 4)
    assert_equal(one, other, random_actions(one.single_action_space, 2500, 4, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Hopper-v4", "HalfCheetah-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v4"])
def test_a_trained_policys_steps_are_bit_identical(name):
    pi = learn(make_vector_env(name, 4), MlpPolicy, timesteps_per_actorbatch=2048, max_timesteps=40_960, seed=0)
    one, other = both(name, 1)
    ob, actions = one.reset(seed=[0])[0].copy(), []
    rng = np.random.default_rng(0)
    for _ in range(10_000):
        action = np.clip(pi.act(rng.random() < 0.5, ob)[0], one.action_space.low, one.action_space.high)
        actions.append(action.astype(np.float32))
        ob = one.step(actions[-1])[0].copy()
    one.monitors[0].take_episodes()
    assert_equal(one, other, np.stack(actions))


@pytest.mark.parametrize("threads", [1, 2])
def test_segments_are_bit_identical(threads):
    def segments(make):
        env = make([make_env("Hopper-v4", k) for k in range(4)])
        pi = MlpPolicy("pi", env.single_observation_space, env.single_action_space)
        collector = Collector(env, pi, 256, threads=threads)
        collector.reset(seeds=[0, 1, 2, 3])
        rng = np.random.default_rng(0)
        return env, [collector.collect(rng) for _ in range(2)]

    (own, one), (fast, other) = segments(InProcessVectorEnv), segments(fast_vector_env)
    assert not isinstance(own, MujocoVectorEnv) and isinstance(fast, MujocoVectorEnv)
    for first, second in zip(one, other):
        assert first["ep_rets"] == second["ep_rets"] and len(first["ep_rets"]) > 4
        for key in ("ob", "rew", "new", "terminated", "truncated", "last_ob"):
            assert first[key].tobytes() == second[key].tobytes(), key
        assert [(t, k, ob.tobytes()) for t, k, ob in first["final_obs"]] == [
            (t, k, ob.tobytes()) for t, k, ob in second["final_obs"]
        ]


def test_workers_use_it():
    workers, own = make_vector_env("Hopper-v4", 3, workers=2), make_vector_env("Hopper-v4", 3)
    assert isinstance(own, MujocoVectorEnv)
    actions = random_actions(own.single_action_space, 50, 3)
    assert_equal_runs(run(workers, actions), run(own, actions))
    workers.close()


def test_gymnasiums_checker_sees_the_first_steps():
    filter_mujoco_warnings(renders=False)
    make = lambda: [gym.make("HalfCheetah-v5"), gym.make("HalfCheetah-v5")]  # noqa: E731
    one, other = InProcessVectorEnv(make()), fast_vector_env(make())
    actions = random_actions(one.single_action_space, 30, 2)
    first, second = run(one, actions), run(other, actions)
    assert other.is_ready and first[0].tobytes() == second[0].tobytes() and first[1].tobytes() == second[1].tobytes()
    assert all(env.get_wrapper_attr("checked_step") for env in other.envs)


def test_a_step_before_the_reset_is_refused():
    with pytest.raises(EnvError, match="reset"):
        fast_vector_env([make_env("Hopper-v4", wrapped=False)]).step_into(
            np.zeros((1, 3), np.float32), np.zeros((2, 1, 11)), 1, np.zeros((1, 1)), 0
        )


def test_parameters_that_change_between_segments_are_read_again():
    one, other = both("Hopper-v5", 2)
    actions = random_actions(one.single_action_space, 10, 2)
    assert_equal_runs(run(one, actions), run(other, actions))
    for env in (*one.envs, *other.envs):
        env.unwrapped._forward_reward_weight = 5.0
        env.unwrapped.model.opt.timestep = 0.001
    assert_equal_runs(run(one, actions), run(other, actions))
    assert other.is_ready
    other.envs[1].unwrapped._healthy_reward = one.envs[1].unwrapped._healthy_reward = 7.0
    assert_equal_runs(run(one, actions), run(other, actions))
    assert not other.is_ready  # two environments with different parameters run their own code


def assert_equal_runs(one, other):
    """Whether two results of `run` are equal."""
    assert one[0].tobytes() == other[0].tobytes() and one[1].tobytes() == other[1].tobytes() and one[2:] == other[2:]


class Faster(HalfCheetahEnv):
    """Another environment, though its module could be Gymnasium's."""


class Doubled(gym.RewardWrapper):
    def reward(self, reward):
        return 2 * reward


def with_own_step():
    env = gym.make("Hopper-v4")
    env.unwrapped.step = env.unwrapped.step
    return env


UNKNOWN = {
    "subclass": Faster,
    "wrapper": lambda: Doubled(make_env("Hopper-v4")),
    "another step": with_own_step,
    "rendered": lambda: gym.make("Hopper-v4", render_mode="rgb_array"),
    "another task": lambda: gym.make("CartPole-v1"),
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_known_runs_its_own_code(make):
    filter_mujoco_warnings(renders=False)
    assert type(fast_vector_env([make()])) is InProcessVectorEnv


def test_a_changed_source_runs_its_own_code(monkeypatch):
    def control_cost(self, action):
        return 0.5 * self._ctrl_cost_weight * np.sum(np.square(action))

    from common.vec_env.mujoco import recognition

    recognition.source_digest.cache_clear()
    monkeypatch.setattr(HopperEnv, "control_cost", control_cost)
    assert type(fast_vector_env([make_env("Hopper-v4")])) is InProcessVectorEnv
    recognition.source_digest.cache_clear()


def test_different_environments_run_their_own_code():
    assert type(fast_vector_env([make_env("Hopper-v4"), make_env("Hopper-v5")])) is InProcessVectorEnv


def test_the_simulations_number_is_in_an_error(monkeypatch):
    env = make_vector_env("Hopper-v4", 2)
    obs = np.zeros((2, 2, 11))
    env.reset(seed=[0, 1])
    env.task.simulations.parts[1] = (None, *env.task.simulations.parts[1][1:])
    with pytest.raises(EnvError, match="environment 1"):
        env.step_into(np.zeros((2, 3), np.float32), obs, 1, np.zeros((1, 2)), 0)


def test_rewards_before_an_error_are_written_and_counted(monkeypatch):
    one, other = both("Hopper-v4", 1)
    actions = random_actions(one.single_action_space, 5, 1)
    expected = run(one, actions)[1]
    obs, rew = np.zeros((7, 1, 11)), np.full((6, 1), np.nan)
    other.reset(seed=[0])
    for t in range(5):
        other.step_into(actions[t], obs, t + 1, rew, t)
    other.task.simulations.parts[0] = (None, *other.task.simulations.parts[0][1:])
    with pytest.raises(EnvError):
        other.step_into(actions[0], obs, 6, rew, 5)
    other.write_rewards()
    assert rew[:5].tobytes() == expected.tobytes() and np.isnan(rew[5])
    assert find_monitor(other.envs[0]).episode_return == find_monitor(one.envs[0]).episode_return != 0
