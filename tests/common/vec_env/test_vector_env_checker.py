"""The vector environment checker: number of environments, shapes and dtypes, and seeds of resets."""

import functools
import random

import gymnasium as gym
import numpy as np
import pytest
from batch_env import PARTS, BatchEnv, SingleEnv, collect_or_error, with_changed_result
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from small_policies import uncompiled

from baselines_ppo import learn
from common.errors import UserError
from common.vec_env.adapter import VectorEnvAdapter
from common.vec_env.vector_env_checker import env_layout

NEXT_STEP = AutoresetMode.NEXT_STEP


@pytest.mark.parametrize(
    "attributes",
    [
        {"num_envs": 4},
        {"num_envs": 3},
        {"num_envs": None},
        {"single_observation_space": Box(-1, 1, (5,))},
        {"num_envs": 4, "single_action_space": gym.spaces.Discrete(9)},
    ],
    ids=str,
)
def test_env_is_one_environment_whatever_its_attributes(attributes):
    env = type("EnvWithNumEnvs", (SingleEnv,), attributes)()
    for wrapped in (env, gym.wrappers.TimeLimit(env, 3)):
        assert (
            env_layout(wrapped) == (1, SingleEnv.observation_space, SingleEnv.action_space)
            and collect_or_error(wrapped)["truncated"].any()
        )


def test_returns_of_an_env_with_the_attribute_num_envs_are_scaled():
    env = type("EnvWithNumEnvs", (SingleEnv,), {"num_envs": 4})()
    learn(
        env,
        uncompiled,
        timesteps_per_actorbatch=6,
        optim_batchsize=6,
        optim_epochs=1,
        max_iters=1,
        seed=0,
        scale_returns=True,
    )


def test_error_of_an_env_that_returns_batches_suggests_vector_env():
    message = collect_or_error(type("EnvWithNumEnvs", (SingleEnv,), {"num_envs": 4, "reward": np.ones(4)})())
    assert "returned the reward array([1., 1., 1., 1.])" in message and "from gymnasium.vector.VectorEnv" in message
    env = SingleEnv()
    env.reset = lambda **_: (np.zeros((4, 2), np.float32), {})
    message = collect_or_error(env)
    assert "observation of shape (4, 2)" in message and "from gymnasium.vector.VectorEnv" in message
    env.reset = lambda **_: (np.zeros(3, np.float32), {})
    message = collect_or_error(env)
    assert "observation of shape (3,)" in message and "VectorEnv" not in message


class OldVectorEnv:
    """A vector environment in the style of other libraries, without Gymnasium's base class."""

    num_envs, observation_space, action_space = 4, Box(-1, 1, (2,)), gym.spaces.Discrete(2)


@pytest.mark.parametrize(
    "env, expected",
    [
        (
            OldVectorEnv(),
            "env is a OldVectorEnv, not a gymnasium.Env or VectorEnv; derive an environment with several instances from gymnasium.vector.VectorEnv",
        ),
        ([SingleEnv()], "env is a list, not"),
        (gym.vector.VectorEnv(), "env is a VectorEnv without single_observation_space and single_action_space"),
        (type("Bare", (gym.Env,), {})(), "env is a Bare without observation_space and action_space"),
        (BatchEnv(num_envs=3), None),
        (BatchEnv(num_envs=1), None),
    ],
)
def test_other_objects_are_refused_before_a_policy_is_built(env, expected):
    if expected is None:
        assert env_layout(env).num_envs == env.num_envs
        return
    with pytest.raises(UserError) as caught:
        learn(env, None, max_iters=1)
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("num_envs", None, "num_envs=None"),
        ("num_envs", 0, "num_envs=0"),
        ("num_envs", True, "num_envs=True"),
        ("observation_space", Box(-1, 99, (2,)), "BatchEnv.observation_space is Box"),
        ("observation_space", None, "BatchEnv.observation_space is None"),
    ],
)
def test_vector_env_with_wrong_num_envs_or_batch_space_is_refused(name, value, expected):
    env = BatchEnv()
    setattr(env, name, value)
    with pytest.raises(UserError) as caught:
        env_layout(env)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "part, change, expected",
    [
        (0, lambda x: x[:1], "returned from step observations of shape (1, 2)"),
        (0, lambda x: x.astype(str), "returned from step observations of shape (3, 2)"),
        (1, lambda x: 1.0, "returned rewards of shape ()"),
        (1, lambda x: x[:, None], "returned rewards of shape (3, 1)"),
        (1, lambda x: x[:1], "returned rewards of shape (1,)"),
        (2, lambda x: x[:2], "returned terminated of shape (2,)"),
        (3, lambda x: x.astype(str), "returned truncated of shape (3,) and dtype <U5"),
        (4, lambda x: [x], "returned the infos [{}], which are not a dict"),
    ],
)
def test_step_with_a_wrong_number_of_rows_is_refused(part, change, expected):
    def changed(result):
        return tuple(change(x) if i == part else x for i, x in enumerate(result))

    assert collect_or_error(with_changed_result(BatchEnv(), "step", changed)).startswith(f"BatchEnv {expected}")
    assert "but Gymnasium expects five values" in collect_or_error(
        with_changed_result(BatchEnv(), "step", lambda result: result[:4])
    )


@pytest.mark.parametrize("change", [list, lambda x: x * 2, lambda x: x.astype(float)], ids=["list", "int", "float"])
def test_done_flags_are_cast_to_bool(change):
    seg = collect_or_error(
        with_changed_result(BatchEnv(), "step", lambda result: (*result[:2], *map(change, result[2:4]), result[4]))
    )
    np.testing.assert_array_equal(seg["truncated"], collect_or_error(BatchEnv())["truncated"])


def require_int(seed):
    assert isinstance(seed, int), "one int"


def seed_rng(seed):
    gym.utils.seeding.np_random(seed)


@pytest.mark.parametrize(
    "use",
    [
        lambda seed: seed + 1,
        int,
        lambda seed: seed % 2**31,
        require_int,
        seed_rng,
        random.Random,
        lambda seed: seed.bit_length(),
    ],
)
def test_reset_that_accepts_only_an_int_gets_the_first_seed(use):
    env = with_changed_result(BatchEnv(), "step", lambda result: result)
    original = env.reset

    def reset(*, seed=None, options=None):
        use(seed)
        return original(seed=seed)

    env.reset = reset
    adapter = VectorEnvAdapter(env, uncompiled("pi", env.single_observation_space, env.single_action_space).encoder)
    for seeds in ([5, 6, 7], [8, 9, 10]):
        adapter.reset(seeds)
    assert env.seeds == [5, 8]


def test_reset_that_accepts_a_list_gets_it_and_other_errors_are_reported_as_they_are():
    env = BatchEnv()
    adapter = VectorEnvAdapter(env, uncompiled("pi", env.single_observation_space, env.single_action_space).encoder)
    adapter.reset([5, 6, 7])
    assert env.seeds == [[5, 6, 7]]

    def fail(*, seed=None, options=None):
        raise RuntimeError(f"no licence for {seed + 0}")

    env.reset = fail
    assert collect_or_error(env).startswith(
        "one of the 3 environments of BatchEnv raised RuntimeError in reset: no licence for 0, "
    )
    env.reset = lambda *, seed=None: {}["level"]
    assert "raised KeyError in reset: 'level'" in collect_or_error(env)
    env.reset = lambda *, seed=None: np.zeros((3, 2), np.float32)
    assert "from reset, but Gymnasium expects a pair" in collect_or_error(env)
    env.reset = lambda *, seed=None: (np.zeros((1, 2), np.float32), {})
    assert "BatchEnv returned from reset observations of shape (1, 2)" in collect_or_error(env)


def test_vector_environments_of_gymnasium_are_accepted():
    for space in PARTS.values():
        env = type("Part", (SingleEnv,), {"observation_space": space})
        for mode in AutoresetMode:
            assert collect_or_error(gym.vector.SyncVectorEnv([env] * 2, autoreset_mode=mode))["truncated"].any()
    reward = functools.partial(np.add, 1)
    assert collect_or_error(
        gym.wrappers.vector.TransformReward(gym.vector.SyncVectorEnv([SingleEnv] * 2, autoreset_mode=NEXT_STEP), reward)
    )["truncated"].any()
