"""Arrays that change in place: what environments return is copied at once, and stored arrays do not change later."""

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


class SharedArrayEnv(gym.Env):
    """All instances return the same array, filled with 100 k + t, and the same info; episodes of three steps.

    It overwrites its action, and removes an entry of `weights`.
    """

    observation_space, action_space = spaces.Box(-1e4, 1e4, (2,), np.float32), spaces.Box(-9, 9, (2,), np.float32)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    spec = None

    def __init__(self, k=0, weights=()):
        self.k, self.info, self.canvas, self.taken = k, {}, np.zeros((4, 4, 3), np.uint8), []
        if weights:
            weights.pop()

    def _observe(self):
        SHARED[:] = 100 * self.k + self.t
        self.info["t"] = self.t
        return SHARED

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._observe(), self.info

    def step(self, action):
        self.taken.append(np.array(action))
        action[...] = 9
        self.t += 1
        return self._observe(), float(self.t), False, self.t == 3, self.info

    def render(self):
        self.canvas[:] = self.t
        return self.canvas


class SharedArrayDictEnv(SharedArrayEnv):
    observation_space = spaces.Dict({"a": spaces.Box(-1e4, 1e4, (2,), np.float32), "b": spaces.Discrete(3)})

    def _observe(self):
        return {"a": super()._observe(), "b": np.int64(0)}


class SharedMatrixEnv(SharedArrayEnv):
    """Observations that an encoder has to flatten."""

    observation_space = spaces.Box(-1e4, 1e4, (2, 1), np.float32)

    def _observe(self):
        return super()._observe()[:, None]


@pytest.mark.parametrize("kind", [SharedArrayEnv, SharedArrayDictEnv, SharedMatrixEnv])
def test_segment_has_the_observation_of_each_environment_that_shares_one_array(kind):
    env = InProcessVectorEnv([kind(k) for k in range(3)])
    seg = Collector(env, uncompiled("pi", env.single_observation_space, env.single_action_space), 12).collect(RNG)
    assert seg["ob"][..., 0].tolist() == [[0, 100, 200], [1, 101, 201], [2, 102, 202], [0, 100, 200]]
    assert [(t, k, ob[0]) for t, k, ob in seg["final_obs"]] == [(2, 0, 3), (2, 1, 103), (2, 2, 203)]
    assert [np.stack(one.taken).tolist() for one in env.envs] == seg["ac"].clip(-9, 9).swapaxes(0, 1).tolist()


@pytest.mark.parametrize("kind", [SharedArrayEnv, SharedArrayDictEnv])
def test_vector_env_and_workers_return_the_observation_of_each_environment_that_shares_one_array(kind):
    env, actions = InProcessVectorEnv([kind(k) for k in range(3)]), np.zeros((3, 2), np.float32)

    def numbers(obs):
        return (
            [ob["a"][0] for ob in obs]
            if isinstance(obs, list)
            else (obs["a"] if kind is SharedArrayDictEnv else obs)[:, 0].tolist()
        )

    assert numbers(env.reset(seed=[1, 2, 3])[0]) == [0, 100, 200]
    for t in (1, 2):
        assert numbers(env.step(actions)[0]) == [t, 100 + t, 200 + t]
    assert [info["t"] for info in env.step(actions)[4]["final_info"].values()] == [3, 3, 3]
    shared = np.zeros((3, 2), np.float32) if kind is SharedArrayEnv else None
    first = worker_process.reset(env, shared, [1, 2, 3], None)
    assert numbers(shared if first is None else first) == [0, 100, 200]
    rew, _, obs = worker_process.step(env, shared, actions)
    assert numbers(shared if obs is None else obs) == [1, 101, 201] and rew.tolist() == [1, 1, 1]


class SharedArraysVectorEnv(gym.vector.VectorEnv):
    """A custom vector environment that returns the same arrays at every step, including the final observations."""

    num_envs, single_observation_space, single_action_space = (
        2,
        SharedArrayEnv.observation_space,
        SharedArrayEnv.action_space,
    )
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
def test_vector_environment_may_return_the_same_arrays_at_every_step(mode):
    env = SharedArraysVectorEnv(mode)
    seg = Collector(env, uncompiled("pi", env.single_observation_space, env.single_action_space), 16).collect(RNG)
    assert seg["ob"][:, 0, 0].tolist() == [1000, 1, 2, 1003, 4, 5, 1006, 7]
    assert seg["rew"][:, 1].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [(t, int(k), ob[0]) for t, k, ob in seg["final_obs"]] == [(2, 0, 3), (2, 1, 3), (5, 0, 6), (5, 1, 6)]
    assert not (seg["ac"] == 9).any()


def test_each_frame_of_a_video_shows_its_step():
    env = SharedArrayEnv()
    env.reset()
    recorder = FrameRecorder(env)
    for t in range(3):
        recorder.capture(t)
        env.step(np.zeros(2))
    assert [frame[0, 0, 0] for frame in recorder.frames] == [0, 1, 2] and recorder.error is None


def test_actions_recorded_for_a_video_are_those_of_the_environment():
    env = Recorder(SharedArrayEnv())
    evaluate(uncompiled("pi", env.observation_space, env.action_space), env, 1, stochastic=True)
    np.testing.assert_array_equal(env.actions, env.unwrapped.taken)


def test_saved_state_of_a_filter_is_a_copy():
    rms = RunningMeanStd((2,))
    rms.update(np.float64([[1, 2], [3, 4]]))
    kept = rms.state()
    before = copy.deepcopy(kept)
    rms.update(np.float64([[9, 9]]))
    np.testing.assert_equal(kept, before)
    now = rms.mean.copy()
    rms.state()["mean"][:] = 7
    np.testing.assert_array_equal(rms.mean, now)


def test_actions_are_not_overwritten_by_later_ones():
    pi = uncompiled("pi", SharedArrayEnv.observation_space, SharedArrayEnv.action_space)
    for act in (lambda ob: pi.act(False, ob[0])[0], lambda ob: pi.actor(1, None)(ob, 0)):
        kept = act(np.zeros((1, 2), np.float32))
        before = kept.copy()
        assert (act(np.ones((1, 2), np.float32)) != before).any()
        np.testing.assert_array_equal(kept, before)


def test_arguments_of_an_environment_are_copied_for_each_instance(monkeypatch):
    monkeypatch.setitem(
        gym.registry, "SharedArray-v0", gym.envs.registration.EnvSpec("SharedArray-v0", entry_point=SharedArrayEnv)
    )
    env_kwargs = {"weights": [1, 2, 3]}
    for _ in range(2):
        make_env("SharedArray-v0", env_kwargs=env_kwargs)
    assert env_kwargs == {"weights": [1, 2, 3]}
