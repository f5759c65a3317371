"""The vector environment checker: number of environments, shapes and dtypes, and the rules of the autoreset modes."""

import functools
import random

import gymnasium as gym
import numpy as np
import pytest
from batch_env import BatchEnv
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from small_policies import uncompiled

from baselines_ppo import learn
from common.errors import EnvError, UserError
from common.rollouts.collector import Collector
from common.vec_env.adapter import VectorEnvAdapter
from common.vec_env.vector_env_checker import env_layout

SAME_STEP, NEXT_STEP, DISABLED = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED
PARTS = {
    "Dict": gym.spaces.Dict(a=Box(-1, 99, (2,)), b=Box(-1, 99, (2,))),
    "Tuple": gym.spaces.Tuple((Box(-1, 99, (2,)), Box(-1, 99, (2,)))),
    "Box": Box(-1, 99, (2,)),
}


class SingleEnv(gym.Env):
    """One environment, whose class may have attributes that a vector environment has."""

    observation_space, action_space = Box(-1, 1, (2,), np.float32), gym.spaces.Discrete(2)
    reward = 1.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.t += 1
        return self.observation_space.sample(), self.reward, False, self.t >= 5, {}


def with_changed_result(env, method, change):
    """Return `env` after replacing the result of `method` with `change(result)`."""
    original = getattr(env, method)
    setattr(env, method, lambda *args, **kwargs: change(original(*args, **kwargs)))
    return env


def collect_or_error(env, steps=12):
    """Return a segment of `steps` steps of each environment, or the message of its EnvError."""
    layout = env_layout(env)
    collector = Collector(env, uncompiled("pi", layout.ob_space, layout.ac_space), steps * layout.num_envs)
    try:
        collector.reset([0] * layout.num_envs)
        return collector.collect(np.random.default_rng(0))
    except EnvError as error:
        return str(error)


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
        ("CartPole-v1", "env is a str, not a gymnasium.Env or VectorEnv; build it with gymnasium.make"),
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


@pytest.mark.parametrize("mode", ["NextStep", "SAME_STEP", None, 1])
def test_invalid_autoreset_mode_is_refused(mode):
    env = BatchEnv()
    env.metadata = {"autoreset_mode": mode}
    with pytest.raises(UserError) as caught:
        collect_or_error(env)
    assert f"BatchEnv.metadata['autoreset_mode'] is {mode!r}; set it to the AutoresetMode" in str(caught.value)


@pytest.mark.parametrize("space", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("mode", AutoresetMode)
def test_final_observations_of_a_correct_vector_env_are_collected(mode, space):
    seg = collect_or_error(BatchEnv(mode, 3, space))
    assert seg["final_obs"][0][:2] == (2, 0) and set(seg["final_obs"][0][2]) == {3.0}


def change_infos(change):
    """Return a function that changes the infos in the result of a step that ends an episode."""
    return lambda result: (*result[:4], change(result[4]) if result[3].any() else result[4])


@pytest.mark.parametrize(
    "change, expected",
    [
        (
            lambda _: {},
            "BatchEnv breaks a promise of its autoreset mode: SAME_STEP promises infos['final_obs'], which this environment does not return, at step 2 ",
        ),
        (
            lambda infos: {"final_observation": infos["final_obs"]},
            "SAME_STEP promises infos['final_obs'], which this environment does not return, but 'final_observ",
        ),
        (
            lambda infos: {"final_obs": np.full(3, None, object)},
            "environment 0 breaks a promise of its autoreset mode: SAME_STEP promises infos['final_obs'][0]",
        ),
        (lambda infos: {"final_obs": []}, "SAME_STEP promises infos['final_obs'][0] where environment 0 ended"),
        (
            lambda infos: {"final_obs": np.zeros((3, 5))},
            "environment 0 returned an observation of shape (5,), but its space is Box(-1.0, 99.0, (2,), float32), in"
            " infos['final_obs'][0]",
        ),
        (lambda infos: [infos], "BatchEnv returned the infos [{'final_obs': "),
    ],
)
def test_missing_or_wrong_final_observations_in_same_step_mode_are_reported(change, expected):
    assert expected in collect_or_error(with_changed_result(BatchEnv(), "step", change_infos(change)))


@pytest.mark.parametrize("space", ["Dict", "Tuple"])
def test_final_observations_may_be_a_batch(space):
    env = BatchEnv(space=PARTS[space])

    def batched(result):
        last = result[4].get("final_obs")
        parts = PARTS[space].keys() if space == "Dict" else range(2)
        rows = (
            {part: np.stack([np.zeros(2) if ob is None else ob[part] for ob in last]) for part in parts}
            if last is not None
            else None
        )
        return (*result[:4], {} if last is None else {"final_obs": rows if space == "Dict" else tuple(rows.values())})

    assert set(collect_or_error(with_changed_result(env, "step", batched))["final_obs"][0][2]) == {3.0}
    assert "which this environment does not return" in collect_or_error(
        with_changed_result(BatchEnv(space=PARTS[space]), "step", change_infos(lambda _: {}))
    )


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


def test_episode_that_ends_in_its_reset_step_is_refused_in_next_step_mode():
    env = BatchEnv(NEXT_STEP)
    message = collect_or_error(
        with_changed_result(env, "step", lambda result: (*result[:2], result[2] | True, *result[3:]))
    )
    assert message.startswith(
        "environment 0 breaks a promise of its autoreset mode: NEXT_STEP promises that the step after an episode's end only starts the next one"
    )


def test_reset_by_mask_that_resets_other_environments_is_refused():
    env = BatchEnv(DISABLED)
    reset = env.reset
    env.reset = lambda *, seed=None, options=None: reset(seed=seed)
    assert collect_or_error(env).startswith(
        "environment 1 breaks a promise of its autoreset mode: DISABLED promises that reset(options={'reset_mask': ...})"
    )
    seg = collect_or_error(
        gym.wrappers.vector.TransformObservation(BatchEnv(DISABLED), lambda obs: obs + np.float32(np.random.uniform()))
    )
    assert seg["truncated"].any()  # the observation that a wrapper returns may change


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
