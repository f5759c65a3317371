"""Masks of vector environments: every convention and autoreset mode gives what single wrapped environments give."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from masked_envs import Corridor

from common.envs.action_masks import ActionMaskWrapper
from common.envs.mask_layout import has_action_mask
from common.envs.monitor import Monitor
from common.errors import EnvError, UserError
from common.vec_env.action_masks import VectorActionMaskWrapper, with_action_masks, with_masks_for
from common.vec_env.factory import make_vector_env
from common.vec_env.in_process import CopiedObservations, InProcessVectorEnv
from common.vec_env.subproc import SubprocVectorEnv

MODES = list(AutoresetMode)
CONVENTIONS = ("method", "info", "observation", "box")
ALL, START, MIDDLE = [1] * 5, [0, 1, 0, 0, 0], [1, 1, 0, 0, 0]


def corridors(masks, lengths=(2, 3), **kwargs):
    return [lambda n=n: Corridor(masks, goal=n, **kwargs) for n in lengths]


def places(obs):
    return np.ravel(obs["observation"]).tolist()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("masks", CONVENTIONS)
def test_the_masks_belong_to_the_observations_that_are_acted_on(masks, mode):
    env = with_action_masks(SyncVectorEnv(corridors(masks), autoreset_mode=mode), None)
    assert isinstance(env, VectorActionMaskWrapper)
    obs, _ = env.reset(seed=[0, 1])
    assert (places(obs), obs["action_mask"].tolist()) == ([0, 0], [START, START])
    obs = env.step(np.array([1, 1]))[0]
    assert (places(obs), obs["action_mask"].tolist()) == ([1, 1], [MIDDLE, MIDDLE])
    obs, _, terminated, _, infos = env.step(np.array([1, 0]))  # environment 0 ends
    assert terminated.tolist() == [True, False]
    if mode is AutoresetMode.SAME_STEP:
        assert (places(obs), obs["action_mask"].tolist()) == ([0, 0], [START, START])
        assert infos["final_obs"][0]["observation"].tolist() == [2]
        assert infos["final_obs"][0]["action_mask"].tolist() == ALL
        assert infos["final_obs"][1] is None
        return
    assert (places(obs), obs["action_mask"].tolist()) == ([2, 0], [ALL, START])
    if mode is AutoresetMode.DISABLED:
        obs = env.reset(options={"reset_mask": np.array([True, False])})[0]
    else:
        obs = env.step(np.array([1, 1]))[0]
    assert (places(obs), obs["action_mask"].tolist()) == (
        ([0, 0], [START, START]) if mode is AutoresetMode.DISABLED else ([0, 1], [START, MIDDLE])
    )


@pytest.mark.parametrize("masks", ["method", "info", "observation"])
def test_environments_in_other_processes(masks):
    env = with_action_masks(AsyncVectorEnv(corridors(masks), autoreset_mode=AutoresetMode.SAME_STEP), True)
    try:
        assert env.reset(seed=[0, 1])[0]["action_mask"].tolist() == [START, START]
        assert env.step(np.array([1, 1]))[0]["action_mask"].tolist() == [MIDDLE, MIDDLE]
    finally:
        env.close()


@pytest.mark.parametrize("space", [gym.spaces.MultiDiscrete([2, 3]), gym.spaces.Dict(a=gym.spaces.Discrete(2))])
def test_structured_masks_in_infos(space):
    class Structured(Corridor):
        def __init__(self):
            super().__init__()
            self.action_space = space

        def _result(self):
            mask = (np.int8([0, 1]), np.int8([1, 0, 1]))
            return np.float32([0]), {"action_mask": {"a": mask[0]} if "a" in str(space) else mask}

    env = with_action_masks(SyncVectorEnv([Structured] * 2), None)
    expected = [0, 1] if isinstance(space, gym.spaces.Dict) else [0, 1, 1, 0, 1]
    assert env.reset()[0]["action_mask"].tolist() == [expected, expected]


class BatchOfCorridors(gym.vector.VectorEnv):
    """A vector environment that is one object, with its own `action_masks()`."""

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}
    num_envs = 2
    single_action_space, single_observation_space = gym.spaces.Discrete(2), gym.spaces.Box(0, 1, (1,))
    action_space = gym.vector.utils.batch_space(single_action_space, 2)
    observation_space = gym.vector.utils.batch_space(single_observation_space, 2)

    def reset(self, *, seed=None, options=None):
        return np.zeros((2, 1), np.float32), {}

    def step(self, actions):
        return np.zeros((2, 1), np.float32), np.zeros(2), np.array([False, False]), np.array([True, False]), {}

    def action_masks(self):
        return np.array([[True, False], [False, True]])


def test_a_method_of_the_vector_environment_itself_also_through_wrappers():
    for env in (BatchOfCorridors(), gym.wrappers.vector.RecordEpisodeStatistics(BatchOfCorridors())):
        masked = with_action_masks(env)
        assert masked.reset()[0]["action_mask"].tolist() == [[1, 0], [0, 1]]
    assert masked.step(np.array([0, 1]))[0]["action_mask"].tolist() == [[1, 1], [0, 1]]


class Empty(Corridor):
    def _result(self):
        return np.float32([0]), {} if self.steps else {"action_mask": np.int8([0, 1, 0, 0, 0])}


def test_a_missing_or_empty_mask_is_an_error_with_the_number_of_its_environment():
    env = with_action_masks(SyncVectorEnv([*corridors("info", (9,)), lambda: Empty("info", goal=9)]))
    env.reset(seed=[0, 1])
    with pytest.raises(EnvError, match="^environment 1 returned an info without 'action_mask' from step"):
        env.step(np.array([1, 1]))
    env = with_action_masks(BatchOfCorridors())
    env.read_masks = lambda: np.array([[1, 0], [0, 0]])
    with pytest.raises(EnvError, match="^environment 1 gave an action mask without a valid action"):
        env.reset()
    env.read_masks = lambda: np.array([[1, 0]])
    with pytest.raises(EnvError, match="without one for each of its 2 environments"):
        env.reset()


def test_no_masks():
    env = gym.make_vec("CartPole-v1", num_envs=2)
    assert with_action_masks(env, None) is env
    assert with_action_masks(env, False) is env
    with pytest.raises(UserError, match="CartPole-v1 gives no action masks"):
        with_action_masks(env, True)
    with pytest.raises(UserError, match="not a gymnasium.Env"):
        with_action_masks(3)


def test_environments_in_this_process_are_wrapped_one_by_one_around_their_monitors():
    env = with_action_masks(InProcessVectorEnv([Monitor(make()) for make in corridors("method")]))
    assert isinstance(env, InProcessVectorEnv)
    assert all(isinstance(one, ActionMaskWrapper) for one in env.envs)
    assert len(env.monitors) == 2
    assert with_action_masks(env, True) is env


@pytest.mark.parametrize("masks", ["method", "info"])
@pytest.mark.parametrize("workers", [0, 2])
def test_environments_by_id_in_this_process_and_in_workers(workers, masks):
    env = make_vector_env("masked_envs:MaskedCorridor-v0", 2, workers=workers, env_kwargs={"masks": masks, "goal": 2})
    try:
        assert has_action_mask(env.single_observation_space, env.single_action_space)
        assert env.reset(seed=[0, 1])[0]["action_mask"].tolist() == [START, START]
        obs, rew = CopiedObservations(2), np.zeros((1, 2))
        assert len(env.step_into([1, 1], obs, 0, rew, 0)) == 0
        assert [ob["action_mask"].tolist() for ob in obs.row] == [MIDDLE, MIDDLE]
        ((k, final, *_),) = env.step_into([1, 0], obs, 0, rew, 0)
        assert (k, final["observation"].tolist(), final["action_mask"].tolist()) == (0, [2], ALL)
        assert [ob["action_mask"].tolist() for ob in obs.row] == [START, START]
    finally:
        env.close()


def test_environments_of_the_users_own_workers_must_be_wrapped_there():
    env = SubprocVectorEnv(make_corridor, 1, 1)
    try:
        with pytest.raises(UserError, match="let `make` return an ActionMaskWrapper"):
            with_action_masks(env)
        assert with_action_masks(env, False) is env
    finally:
        env.close()


def make_corridor(k):
    return Corridor("method")


def test_an_environment_is_wrapped_for_a_policy_with_masks_alone():
    class Pi:
        ob_space, ac_space = ActionMaskWrapper(Corridor("info")).observation_space, gym.spaces.Discrete(5)

    env = Corridor("info")
    assert isinstance(with_masks_for(Pi, env), ActionMaskWrapper)
    with pytest.raises(UserError, match="trained with action masks, and CartPole-v1 gives none"):
        with_masks_for(Pi, gym.make("CartPole-v1"))
    Pi.ob_space = env.observation_space
    assert with_masks_for(Pi, env) is env
