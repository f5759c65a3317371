"""Arrays that change in place: what environments return is taken when it comes, and what is kept does not change later."""

import copy

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from small_policies import uncompiled

from baselines_ppo.play.video import Recorder
from common.envs.factory import make_env
from common.envs.rendering import FrameRecorder
from common.rollouts.collector import Collector
from common.rollouts.evaluation import evaluate
from common.running_mean_std import RunningMeanStd
from common.vec_env import worker as worker_process
from common.vec_env.in_process import InProcessVectorEnv

SHARED = np.zeros(2, np.float32)
RNG = np.random.default_rng(0)


class OneArray(gym.Env):
    """All of its kind draw into one array and one info, which say 100 k + t; episodes of three steps. What it is given it overwrites."""

    observation_space, action_space = spaces.Box(-1e4, 1e4, (2,), np.float32), spaces.Box(-9, 9, (2,), np.float32)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    spec = None

    def __init__(self, k=0, weights=()):
        self.k, self.info, self.canvas, self.taken = k, {}, np.zeros((4, 4, 3), np.uint8), []
        if weights:
            weights.pop()

    def _seen(self):
        SHARED[:] = 100 * self.k + self.t
        self.info["t"] = self.t
        return SHARED

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._seen(), self.info

    def step(self, action):
        self.taken.append(np.array(action))
        action[...] = 9
        self.t += 1
        return self._seen(), float(self.t), False, self.t == 3, self.info

    def render(self):
        self.canvas[:] = self.t
        return self.canvas


class OneArrayInADict(OneArray):
    observation_space = spaces.Dict({"a": spaces.Box(-1e4, 1e4, (2,), np.float32), "b": spaces.Discrete(3)})

    def _seen(self):
        return {"a": super()._seen(), "b": np.int64(0)}


class Flat(OneArray):
    """Observations that an encoder has to flatten."""

    observation_space = spaces.Box(-1e4, 1e4, (2, 1), np.float32)

    def _seen(self):
        return super()._seen()[:, None]


@pytest.mark.parametrize("kind", [OneArray, OneArrayInADict, Flat])
def test_environments_that_share_one_array_are_each_seen_as_they_were(kind):
    env = InProcessVectorEnv([kind(k) for k in range(3)])
    seg = Collector(env, uncompiled("pi", env.single_observation_space, env.single_action_space), 12).collect(RNG)
    assert seg["ob"][..., 0].tolist() == [[0, 100, 200], [1, 101, 201], [2, 102, 202], [0, 100, 200]]
    assert [(t, k, ob[0]) for t, k, ob in seg["final_obs"]] == [(2, 0, 3), (2, 1, 103), (2, 2, 203)]
    assert [np.stack(one.taken).tolist() for one in env.envs] == seg["ac"].clip(-9, 9).swapaxes(0, 1).tolist()


@pytest.mark.parametrize("kind", [OneArray, OneArrayInADict])
def test_so_they_are_by_the_vector_environments_own_interface_and_in_workers(kind):
    env, actions = InProcessVectorEnv([kind(k) for k in range(3)]), np.zeros((3, 2), np.float32)

    def numbers(obs):
        return (
            [ob["a"][0] for ob in obs]
            if isinstance(obs, list)
            else (obs["a"] if kind is OneArrayInADict else obs)[:, 0].tolist()
        )

    assert numbers(env.reset(seed=[1, 2, 3])[0]) == [0, 100, 200]
    for t in (1, 2):
        assert numbers(env.step(actions)[0]) == [t, 100 + t, 200 + t]
    assert [info["t"] for info in env.step(actions)[4]["final_info"].values()] == [3, 3, 3]
    shared = np.zeros((3, 2), np.float32) if kind is OneArray else None
    first = worker_process.reset(env, shared, [1, 2, 3], None)
    assert numbers(shared if first is None else first) == [0, 100, 200]
    rew, _, obs = worker_process.step(env, shared, actions)
    assert numbers(shared if obs is None else obs) == [1, 101, 201] and rew.tolist() == [1, 1, 1]


class OneSetOfArrays(gym.vector.VectorEnv):
    """A vector environment of a user's own that returns the same arrays at every step, the final observations among them."""

    num_envs, single_observation_space, single_action_space = 2, OneArray.observation_space, OneArray.action_space
    observation_space, action_space = (
        gym.vector.utils.batch_space(space, 2) for space in (single_observation_space, single_action_space)
    )

    def __init__(self, mode):
        self.metadata, self.n = {"autoreset_mode": mode}, 0
        self.obs, self.final, self.rew = np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32), np.zeros(2)
        self.terminated, self.truncated, self.t = np.zeros(2, bool), np.zeros(2, bool), np.zeros(2, int)

    def reset(self, *, seed=None, options=None):
        mask = (options or {}).get("reset_mask", np.ones(2, bool))
        self.obs[mask], self.t[mask] = 1000 + self.n, 0
        mask[:] = True
        return self.obs, {}

    def step(self, actions):
        actions[...] = 9
        self.n += 1
        self.t += 1
        self.obs[:], self.rew[:], self.truncated[:] = self.n, self.n, self.t == 3
        if not self.truncated.any() or self.metadata["autoreset_mode"] is AutoresetMode.DISABLED:
            return self.obs, self.rew, self.terminated, self.truncated, {}
        self.final[:], self.obs[:], self.t[:] = self.n, 1000 + self.n, 0
        return self.obs, self.rew, self.terminated, self.truncated, {"final_obs": self.final}


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_a_vector_environment_may_return_the_same_arrays_at_every_step(mode):
    env = OneSetOfArrays(mode)
    seg = Collector(env, uncompiled("pi", env.single_observation_space, env.single_action_space), 16).collect(RNG)
    assert seg["ob"][:, 0, 0].tolist() == [1000, 1, 2, 1003, 4, 5, 1006, 7] and seg["rew"][:, 1].tolist() == [
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
    ]
    assert [(t, int(k), ob[0]) for t, k, ob in seg["final_obs"]] == [(2, 0, 3), (2, 1, 3), (5, 0, 6), (5, 1, 6)]
    assert not (seg["ac"] == 9).any()


def test_every_frame_of_a_film_is_of_its_step():
    env, film = OneArray(), None
    env.reset()
    film = FrameRecorder(env)
    for t in range(3):
        film.capture(t)
        env.step(np.zeros(2))
    assert [frame[0, 0, 0] for frame in film.frames] == [0, 1, 2] and film.error is None


def test_the_actions_that_a_film_repeats_are_those_that_were_given():
    env = Recorder(OneArray())
    evaluate(uncompiled("pi", env.observation_space, env.action_space), env, 1, stochastic=True)
    np.testing.assert_array_equal(env.actions, env.unwrapped.taken)


def test_a_state_that_is_kept_stays_and_is_nobody_elses():
    rms = RunningMeanStd((2,))
    rms.update(np.float64([[1, 2], [3, 4]]))
    kept = rms.state()
    before = copy.deepcopy(kept)
    rms.update(np.float64([[9, 9]]))
    np.testing.assert_equal(kept, before)
    now = rms.mean.copy()
    rms.state()["mean"][:] = 7
    np.testing.assert_array_equal(rms.mean, now)


def test_actions_that_are_kept_stay():
    pi = uncompiled("pi", OneArray.observation_space, OneArray.action_space)
    for act in (lambda ob: pi.act(False, ob[0])[0], lambda ob: pi.actor(1, None)(ob, 0)):
        kept = act(np.zeros((1, 2), np.float32))
        before = kept.copy()
        assert (act(np.ones((1, 2), np.float32)) != before).any()
        np.testing.assert_array_equal(kept, before)


def test_arguments_of_an_environment_are_the_same_for_the_next(monkeypatch):
    monkeypatch.setitem(gym.registry, "OneArray-v0", gym.envs.registration.EnvSpec("OneArray-v0", entry_point=OneArray))
    env_kwargs = {"weights": [1, 2, 3]}
    for _ in range(2):
        make_env("OneArray-v0", env_kwargs=env_kwargs)
    assert env_kwargs == {"weights": [1, 2, 3]}
