"""VectorEnvAdapter: the type of actions that environments get, and the dtype of observations that they return."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from scripted import ScriptedPolicy
from small_envs import ActionTypeReward, Strict
from small_policies import uncompiled

from baselines_ppo.play.video import Recorder
from common.errors import EnvError
from common.rollouts.collector import Collector
from common.rollouts.evaluation import evaluate
from common.rollouts.segment_generator import traj_segment_generator
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
def test_environment_gets_the_actions_of_the_segment_in_the_dtype_of_their_space(space, layers):
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


class SpaceWithoutDtype(gym.Space):
    """A custom space without a dtype."""

    def contains(self, x):
        return x.dtype == np.int32

    def sample(self, mask=None, probability=None):
        return np.int32(0)


def test_actions_of_a_space_without_dtype_are_not_cast():
    env = Strict(SpaceWithoutDtype())
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
@pytest.mark.parametrize("kind", ["env", "in process", "threads", "SyncVectorEnv"])
def test_actions_have_the_type_of_samples_of_their_space(space, kind):
    envs, pi = [Strict(space), Strict(space)], uncompiled("pi", Strict.observation_space, space)
    if kind == "SyncVectorEnv":
        env = SyncVectorEnv([lambda env=env: env for env in envs], autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    else:
        env = envs[0] if kind == "env" else InProcessVectorEnv(envs)
    Collector(env, pi, 8, threads=2 if kind == "threads" else 1).collect(np.random.default_rng(0))
    expected = space.sample()
    for action in envs[0].taken:
        assert type(action) is type(expected) and action.dtype == expected.dtype


def test_actions_have_that_type_in_workers():
    space = gym.spaces.Discrete(4, dtype=np.int32)
    env = SubprocVectorEnv(functools.partial(ActionTypeReward, space), 2, 1)
    seg = Collector(env, uncompiled("pi", Strict.observation_space, space), 8).collect(np.random.default_rng(0))
    env.close()
    assert (seg["rew"] == 1).all()


def test_actions_have_that_type_in_evaluations_and_videos():
    env = Recorder(ActionTypeReward(gym.spaces.Discrete(3), 0))
    limited = gym.wrappers.TimeLimit(env, 6)
    assert evaluate(uncompiled("pi", env.observation_space, env.action_space), limited, 1, stochastic=True)[0] == [6.0]
    assert [type(action) for action in env.actions] == [np.int64] * 6


class InPlaceEnv(Strict):
    """Modifies its action and its last observation in place."""

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
def test_environment_that_modifies_its_action_in_place_modifies_nothing_else(space):
    env = InPlaceEnv(space)
    env.observed = np.zeros(2, np.float32)
    recorder = Recorder(env)
    seg = Collector(recorder, uncompiled("pi", env.observation_space, space), 8).collect(np.random.default_rng(0))
    kept = np.clip(seg["ac"], space.low, space.high) if isinstance(space, gym.spaces.Box) else seg["ac"]
    np.testing.assert_array_equal(env.taken, kept[:, 0])
    np.testing.assert_array_equal(recorder.actions, kept[:, 0])
    np.testing.assert_array_equal(seg["ob"][:, 0, 0], [1, *range(1, 8)])  # 1 after the reset, then the number of steps


class CustomVectorEnv(gym.vector.VectorEnv):
    """A custom vector environment with observations in uint8, which returns `x` from its second step on."""

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
    "x, expected",
    [
        (np.array([[3.0, 0.5], [1, 1]]), "of dtype float64 with 0.5, which its space"),
        (np.full((2, 2), 256), "of dtype int64 with 256"),
        (np.full((2, 2), -1, np.int8), "of dtype int8 with -1"),
        (np.full((2, 2), np.nan, np.float32), "of dtype float32 with nan"),
    ],
)
def test_observation_of_a_vector_env_outside_its_dtype_is_refused(x, expected):
    with pytest.raises(EnvError, match=f"^CustomVectorEnv returned an observation {expected}"):
        Collector(CustomVectorEnv(x), ScriptedPolicy(SingleEnv), 8).collect(np.random.default_rng(0))


@pytest.mark.parametrize(
    "x",
    [np.full((2, 2), 254.0), [[254, 254], [254, 254]], np.full((2, 2), 254, np.int64)],
    ids=["float64", "list", "int64"],
)
def test_integral_observations_of_a_vector_env_are_cast(x):
    seg = Collector(CustomVectorEnv(x), ScriptedPolicy(SingleEnv), 8).collect(np.random.default_rng(0))
    assert seg["ob"].dtype == np.uint8 and (seg["ob"][2:] == 254).all()


class SingleEnv:
    """The spaces of one environment of CustomVectorEnv."""

    observation_space, action_space = CustomVectorEnv.single_observation_space, CustomVectorEnv.single_action_space


class Images(gym.Env):
    """Returns observations in float64 although its space is uint8."""

    observation_space, action_space = gym.spaces.Box(0, 255, (2,), np.uint8), gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(2), {}

    def step(self, action):
        self.steps += 1
        return np.full(2, float(self.steps)), 0.0, False, self.steps == 3, {}


def test_final_observations_have_the_dtype_of_the_segment():
    seg = Collector(Images(), ScriptedPolicy(Images), 8).collect(np.random.default_rng(0))
    assert [(t, ob.tolist(), ob.dtype) for t, _, ob in seg["final_obs"]] == [
        (2, [3, 3], np.uint8),
        (5, [3, 3], np.uint8),
    ]
