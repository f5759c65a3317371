"""How many environments something is, and vector environments that promise what they do not give."""

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


class One(gym.Env):
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


def altered(env, method, change):
    """`env`, whose `method` returns what `change` makes of what it returned."""
    own = getattr(env, method)
    setattr(env, method, lambda *args, **kwargs: change(own(*args, **kwargs)))
    return env


def collected(env, steps=12):
    """The segment of `steps` steps of each environment, or the line that it is refused with."""
    layout = env_layout(env)
    collector = Collector(env, uncompiled("pi", layout.ob_space, layout.ac_space), steps * layout.num_envs)
    try:
        collector.reset([0] * layout.num_envs)
        return collector.collect(np.random.default_rng(0))
    except EnvError as fault:
        return str(fault)


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
def test_an_env_is_one_environment_whatever_attributes_it_has(attributes):
    env = type("Fleet", (One,), attributes)()
    for made in (env, gym.wrappers.TimeLimit(env, 3)):
        assert env_layout(made) == (1, One.observation_space, One.action_space) and collected(made)["truncated"].any()


def test_returns_of_an_env_with_a_number_of_environments_are_scaled():
    env = type("Fleet", (One,), {"num_envs": 4})()
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


def test_an_env_that_returns_batches_is_told_to_derive_from_vector_env():
    told = collected(type("Fleet", (One,), {"num_envs": 4, "reward": np.ones(4)})())
    assert "returned the reward array([1., 1., 1., 1.])" in told and "from gymnasium.vector.VectorEnv" in told
    env = One()
    env.reset = lambda **_: (np.zeros((4, 2), np.float32), {})
    assert "observation of shape (4, 2)" in (told := collected(env)) and "from gymnasium.vector.VectorEnv" in told
    env.reset = lambda **_: (np.zeros(3, np.float32), {})
    assert "observation of shape (3,)" in (told := collected(env)) and "VectorEnv" not in told


class OldVectorEnv:
    """As other libraries have them."""

    num_envs, observation_space, action_space = 4, Box(-1, 1, (2,)), gym.spaces.Discrete(2)


@pytest.mark.parametrize(
    "env, told",
    [
        (
            OldVectorEnv(),
            "env is a OldVectorEnv, not a gymnasium.Env or VectorEnv; derive an environment with several instances from gymnasium.vector.VectorEnv",
        ),
        ("CartPole-v1", "env is a str, not a gymnasium.Env or VectorEnv; build it with gymnasium.make"),
        ([One()], "env is a list, not"),
        (gym.vector.VectorEnv(), "env is a VectorEnv without single_observation_space and single_action_space"),
        (type("Bare", (gym.Env,), {})(), "env is a Bare without observation_space and action_space"),
        (BatchEnv(num_envs=3), None),
        (BatchEnv(num_envs=1), None),
    ],
)
def test_what_is_neither_is_refused_before_a_policy_is_built(env, told):
    if told is None:
        assert env_layout(env).num_envs == env.num_envs
        return
    with pytest.raises(UserError) as caught:
        learn(env, None, max_iters=1)
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    "name, value, told",
    [
        ("num_envs", None, "num_envs=None"),
        ("num_envs", 0, "num_envs=0"),
        ("num_envs", True, "num_envs=True"),
        ("observation_space", Box(-1, 99, (2,)), "BatchEnv.observation_space is Box"),
        ("observation_space", None, "BatchEnv.observation_space is None"),
    ],
)
def test_a_vector_env_says_how_many_it_is_and_has_the_batch_of_their_spaces(name, value, told):
    env = BatchEnv()
    setattr(env, name, value)
    with pytest.raises(UserError) as caught:
        env_layout(env)
    assert told in str(caught.value)


@pytest.mark.parametrize("mode", ["NextStep", "SAME_STEP", None, 1])
def test_a_mode_that_is_none_is_named(mode):
    env = BatchEnv()
    env.metadata = {"autoreset_mode": mode}
    with pytest.raises(UserError) as caught:
        collected(env)
    assert f"BatchEnv.metadata['autoreset_mode'] is {mode!r}; set it to the AutoresetMode" in str(caught.value)


@pytest.mark.parametrize("space", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("mode", AutoresetMode)
def test_one_that_keeps_its_promises_is_collected_with_the_last_observations_of_its_episodes(mode, space):
    seg = collected(BatchEnv(mode, 3, space))
    assert seg["final_obs"][0][:2] == (2, 0) and set(seg["final_obs"][0][2]) == {3.0}


def infos(change):
    """A change of what a step returned: of its infos, where an episode has ended."""
    return lambda result: (*result[:4], change(result[4]) if result[3].any() else result[4])


@pytest.mark.parametrize(
    "change, told",
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
def test_last_observations_that_same_step_promises_and_are_not_there_are_named(change, told):
    assert told in collected(altered(BatchEnv(), "step", infos(change)))


@pytest.mark.parametrize("space", ["Dict", "Tuple"])
def test_last_observations_may_be_a_batch_as_the_observations_are(space):
    env = BatchEnv(space=PARTS[space])

    def batched(result):
        last = result[4].get("final_obs")
        parts = PARTS[space].keys() if space == "Dict" else range(2)
        rows = (
            {part: np.stack([np.zeros(2) if one is None else one[part] for one in last]) for part in parts}
            if last is not None
            else None
        )
        return (*result[:4], {} if last is None else {"final_obs": rows if space == "Dict" else tuple(rows.values())})

    assert set(collected(altered(env, "step", batched))["final_obs"][0][2]) == {3.0}
    assert "which this environment does not return" in collected(
        altered(BatchEnv(space=PARTS[space]), "step", infos(lambda _: {}))
    )


@pytest.mark.parametrize(
    "part, change, told",
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
def test_a_step_returns_one_row_for_each(part, change, told):
    def changed(result):
        return tuple(change(x) if i == part else x for i, x in enumerate(result))

    assert collected(altered(BatchEnv(), "step", changed)).startswith(f"BatchEnv {told}")
    assert "but Gymnasium expects five values" in collected(altered(BatchEnv(), "step", lambda result: result[:4]))


@pytest.mark.parametrize("change", [list, lambda x: x * 2, lambda x: x.astype(float)], ids=["list", "int", "float"])
def test_ends_that_can_be_taken_for_bools_are(change):
    seg = collected(altered(BatchEnv(), "step", lambda result: (*result[:2], *map(change, result[2:4]), result[4])))
    np.testing.assert_array_equal(seg["truncated"], collected(BatchEnv())["truncated"])


def test_an_episode_cannot_end_in_the_step_that_only_starts_it():
    env = BatchEnv(NEXT_STEP)
    told = collected(altered(env, "step", lambda result: (*result[:2], result[2] | True, *result[3:])))
    assert told.startswith(
        "environment 0 breaks a promise of its autoreset mode: NEXT_STEP promises that the step after an episode's end only starts the next one"
    )


def test_a_reset_by_mask_leaves_the_others_as_they_are():
    env = BatchEnv(DISABLED)
    reset = env.reset
    env.reset = lambda *, seed=None, options=None: reset(seed=seed)
    assert collected(env).startswith(
        "environment 1 breaks a promise of its autoreset mode: DISABLED promises that reset(options={'reset_mask': ...})"
    )
    seg = collected(
        gym.wrappers.vector.TransformObservation(BatchEnv(DISABLED), lambda obs: obs + np.float32(np.random.uniform()))
    )
    assert seg["truncated"].any()  # a wrapper may show the same otherwise


def needs_int(seed):
    assert isinstance(seed, int), "one int"


def asks_rng(seed):
    gym.utils.seeding.np_random(seed)


@pytest.mark.parametrize(
    "use",
    [
        lambda seed: seed + 1,
        int,
        lambda seed: seed % 2**31,
        needs_int,
        asks_rng,
        random.Random,
        lambda seed: seed.bit_length(),
    ],
)
def test_a_reset_that_takes_one_int_gets_the_first_seed_every_time(use):
    env = altered(BatchEnv(), "step", lambda result: result)
    own = env.reset

    def reset(*, seed=None, options=None):
        use(seed)
        return own(seed=seed)

    env.reset = reset
    stepper = VectorEnvAdapter(env, uncompiled("pi", env.single_observation_space, env.single_action_space).encoder)
    for seeds in ([5, 6, 7], [8, 9, 10]):
        stepper.reset(seeds)
    assert env.seeds == [5, 8]


def test_a_reset_that_takes_a_list_gets_it_and_one_that_breaks_is_blamed_for_that_alone():
    env = BatchEnv()
    stepper = VectorEnvAdapter(env, uncompiled("pi", env.single_observation_space, env.single_action_space).encoder)
    stepper.reset([5, 6, 7])
    assert env.seeds == [[5, 6, 7]]

    def breaks(*, seed=None, options=None):
        raise RuntimeError(f"no licence for {seed + 0}")

    env.reset = breaks
    assert collected(env).startswith(
        "one of the 3 environments of BatchEnv raised RuntimeError in reset: no licence for 0, "
    )
    env.reset = lambda *, seed=None: {}["level"]
    assert "raised KeyError in reset: 'level'" in collected(env)
    env.reset = lambda *, seed=None: np.zeros((3, 2), np.float32)
    assert "from reset, but Gymnasium expects a pair" in collected(env)
    env.reset = lambda *, seed=None: (np.zeros((1, 2), np.float32), {})
    assert "BatchEnv returned from reset observations of shape (1, 2)" in collected(env)


def test_gymnasiums_own_keep_theirs():
    for space in PARTS.values():
        env = type("Part", (One,), {"observation_space": space})
        for mode in AutoresetMode:
            assert collected(gym.vector.SyncVectorEnv([env] * 2, autoreset_mode=mode))["truncated"].any()
    reward = functools.partial(np.add, 1)
    assert collected(
        gym.wrappers.vector.TransformReward(gym.vector.SyncVectorEnv([One] * 2, autoreset_mode=NEXT_STEP), reward)
    )["truncated"].any()
