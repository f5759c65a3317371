"""Actions as environments get them: of their space's dtype, and those that the segment keeps."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from scripted import ScriptedPolicy
from small_envs import Strict, Telling
from small_policies import uncompiled

from baselines_ppo.play.video import Recorder
from common.errors import EnvError
from common.rollouts.collector import Collector, traj_segment_generator
from common.rollouts.evaluation import evaluate
from common.vec_env.in_process import InProcessVectorEnv
from common.vec_env.subproc import SubprocVectorEnv


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Box(-1, 1, (2,), np.float32),
        gym.spaces.Box(-1, 1, (2,), np.float16),
        gym.spaces.Box(-1, 1, (2,), np.float64),
        gym.spaces.MultiDiscrete([3, 2], dtype=np.uint8),
        gym.spaces.MultiBinary(2),
        gym.spaces.Discrete(3, start=5),
    ],
    ids=str,
)
def test_actions_reach_the_environment_in_the_dtype_of_their_space_and_are_those_that_are_kept(space, layers):
    env = Strict(space)
    seg = next(
        traj_segment_generator(
            uncompiled("pi", env.observation_space, space, num_hid_layers=layers), env, 8, True, seed=0
        )
    )
    kept = (
        np.clip(seg["ac"], space.low, space.high).astype(space.dtype)
        if isinstance(space, gym.spaces.Box)
        else seg["ac"]
    )
    np.testing.assert_array_equal(env.taken, kept)


class Own(gym.Space):
    """A space of a user's own, which says no dtype."""

    def contains(self, x):
        return x.dtype == np.int32

    def sample(self, mask=None, probability=None):
        return np.int32(0)


def test_a_space_without_a_dtype_gets_actions_as_they_are_drawn():
    env = Strict(Own())
    seg = next(
        traj_segment_generator(uncompiled("pi", env.observation_space, gym.spaces.Discrete(3)), env, 8, True, seed=0)
    )
    np.testing.assert_array_equal(env.taken, seg["ac"])


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Discrete(4),
        gym.spaces.Discrete(4, dtype=np.int32),
        gym.spaces.Discrete(3, start=5, dtype=np.uint8),
        gym.spaces.MultiDiscrete([3, 2], dtype=np.int32),
        gym.spaces.MultiBinary(2),
        gym.spaces.Box(-1, 1, (2,), np.float64),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["env", "in process", "part", "SyncVectorEnv"])
def test_actions_are_of_the_type_that_their_space_samples(space, kind):
    envs, pi = [Strict(space), Strict(space)], uncompiled("pi", Strict.observation_space, space)
    if kind == "SyncVectorEnv":
        env = SyncVectorEnv([lambda env=env: env for env in envs], autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    else:
        env = envs[0] if kind == "env" else InProcessVectorEnv(envs)
    Collector(env, pi, 8, threads=2 if kind == "part" else 1).collect(np.random.default_rng(0))
    wanted = space.sample()
    for action in envs[0].taken:
        assert type(action) is type(wanted) and action.dtype == wanted.dtype


def test_actions_are_of_that_type_in_workers():
    space = gym.spaces.Discrete(4, dtype=np.int32)
    env = SubprocVectorEnv(functools.partial(Telling, space), 2, 1)
    seg = Collector(env, uncompiled("pi", Strict.observation_space, space), 8).collect(np.random.default_rng(0))
    env.close()
    assert (seg["rew"] == 1).all()


def test_an_evaluation_and_its_film_give_the_same_types():
    env = Recorder(Telling(gym.spaces.Discrete(3), 0))
    limited = gym.wrappers.TimeLimit(env, 6)
    assert evaluate(uncompiled("pi", env.observation_space, env.action_space), limited, 1, stochastic=True)[0] == [6.0]
    assert [type(action) for action in env.actions] == [np.int64] * 6


class Changes(Strict):
    """Changes the arrays that it is given, and the one that it has returned."""

    observed = np.zeros(2, np.float32)

    def step(self, action):
        super().step(action.copy())
        action[...] = 0
        self.observed += 1
        return self.observed, 0.0, False, False, {}


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Box(-1, 1, (2,), np.float32),
        gym.spaces.Box(-np.inf, np.inf, (2,), np.float32),
        gym.spaces.MultiDiscrete([9, 9], dtype=np.int32),
        gym.spaces.MultiBinary(6),
    ],
    ids=str,
)
def test_an_environment_that_changes_its_action_in_place_changes_nothing_else(space):
    env = Changes(space)
    env.observed = np.zeros(2, np.float32)
    recorder = Recorder(env)
    seg = Collector(recorder, uncompiled("pi", env.observation_space, space), 8).collect(np.random.default_rng(0))
    kept = np.clip(seg["ac"], space.low, space.high) if isinstance(space, gym.spaces.Box) else seg["ac"]
    np.testing.assert_array_equal(env.taken, kept[:, 0])
    np.testing.assert_array_equal(recorder.actions, kept[:, 0])
    np.testing.assert_array_equal(seg["ob"][:, 0, 0], [1, *range(1, 8)])  # a reset's ones, then what step has counted


class Fleet(gym.vector.VectorEnv):
    """A user's own vector environment: says whole numbers from 0 to 255, returns `x` of them from its second step on."""

    metadata = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
    num_envs = 2
    single_observation_space, single_action_space = (
        gym.spaces.Box(0, 255, (2,), np.uint8),
        gym.spaces.Box(-1, 1, (1,), np.float32),
    )
    observation_space, action_space = (
        gym.spaces.Box(0, 255, (2, 2), np.uint8),
        gym.spaces.Box(-1, 1, (2, 1), np.float32),
    )

    def __init__(self, x):
        self.x, self.steps = x, 0

    def reset(self, *, seed=None, options=None):
        return np.zeros((2, 2), np.uint8), {}

    def step(self, actions):
        self.steps += 1
        ob = self.x if self.steps > 1 else np.zeros((2, 2), np.uint8)
        return ob, np.zeros(2), np.zeros(2, bool), np.zeros(2, bool), {}


@pytest.mark.parametrize(
    "x, says",
    [
        (np.array([[3.0, 0.5], [1, 1]]), "of dtype float64 with 0.5, which its space"),
        (np.full((2, 2), 256), "of dtype int64 with 256"),
        (np.full((2, 2), -1, np.int8), "of dtype int8 with -1"),
        (np.full((2, 2), np.nan, np.float32), "of dtype float32 with nan"),
    ],
)
def test_a_vector_envs_observations_are_held_to_the_rule_of_single_ones(x, says):
    with pytest.raises(EnvError, match=f"^Fleet returned an observation {says}"):
        Collector(Fleet(x), ScriptedPolicy(OneOfFleet), 8).collect(np.random.default_rng(0))


@pytest.mark.parametrize(
    "x",
    [np.full((2, 2), 254.0), [[254, 254], [254, 254]], np.full((2, 2), 254, np.int64)],
    ids=["float64", "list", "int64"],
)
def test_a_vector_envs_whole_numbers_are_cast(x):
    seg = Collector(Fleet(x), ScriptedPolicy(OneOfFleet), 8).collect(np.random.default_rng(0))
    assert seg["ob"].dtype == np.uint8 and (seg["ob"][2:] == 254).all()


class OneOfFleet:
    """What a policy asks of one."""

    observation_space, action_space = Fleet.single_observation_space, Fleet.single_action_space


class Images(gym.Env):
    """Says uint8 and returns float64, also as an episode's last observation."""

    observation_space, action_space = gym.spaces.Box(0, 255, (2,), np.uint8), gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(2), {}

    def step(self, action):
        self.steps += 1
        return np.full(2, float(self.steps)), 0.0, False, self.steps == 3, {}


def test_final_observations_are_of_the_dtype_of_the_segment():
    seg = Collector(Images(), ScriptedPolicy(Images), 8).collect(np.random.default_rng(0))
    assert [(t, ob.tolist(), ob.dtype) for t, _, ob in seg["final_obs"]] == [
        (2, [3, 3], np.uint8),
        (5, [3, 3], np.uint8),
    ]
