"""Training with actions of Dict, Tuple and Box of integers: the first ratio is 1 and KL is 0."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from small_envs import Strict
from small_policies import Linear

from baselines_ppo import Policy, pposgd_simple, trpo_mpi, vpg
from common.distributions import TensorFlowOperators
from common.errors import NonFiniteError, UserError
from common.policies.space_comparison import space_difference
from common.rollouts.segment import flatten_time_and_envs, network_inputs
from common.runs.run_directory import RunDirectory
from common.vec_env.in_process import InProcessVectorEnv

AMOUNT, CHOICE = gym.spaces.Box(-1, 1, (1,), np.float32), gym.spaces.Discrete(3, start=1)
PARAMETRISED = gym.spaces.Dict(choice=CHOICE, amount=AMOUNT)
SPACES = {
    "parametrised": PARAMETRISED,
    "nested": gym.spaces.Tuple(
        [
            AMOUNT,
            gym.spaces.Dict({"bits": gym.spaces.MultiBinary(3), "inner": gym.spaces.Tuple([CHOICE, AMOUNT])}),
            gym.spaces.MultiDiscrete([2, 3]),
        ]
    ),
    "integers": gym.spaces.Box(-2, 4, (2,), np.int32),
}
VPG = {"timesteps_per_actorbatch": 128}
PPO = {"timesteps_per_actorbatch": 128, "optim_batchsize": 32, "optim_epochs": 2, "max_iters": 2, "seed": 1}


class FreeLogstd(Policy):
    """One matrix for policy and value; log standard deviations are a variable, at first -1."""

    def __init__(self, name, ob_space, ac_space):
        super().__init__(name, ob_space, ac_space)
        logstd = self.pdtype.logstd_indices()
        outputs = self.pdtype.param_shape()[0] - len(logstd)
        self.w = tf.Variable(tf.zeros([self.encoder.shape[0], outputs + 1]), name="w")
        self.logstd = tf.Variable(tf.fill([len(logstd)], -1.0), name="logstd") if len(logstd) else None

    def forward(self, ob):
        out = tf.cast(ob, tf.float32) @ self.w
        flat = out[:, :-1]
        if self.logstd is not None:
            flat = self.pdtype.join_logstd(TensorFlowOperators, flat, self.logstd)
        return flat, out[:, -1]


class Parametrised(gym.Env):
    """The observation is the right one of three choices, one-hot; 1 minus the distance of the amount from its optimum is the reward.

    The optima are -0.5, 0 and 0.5. Episodes have 20 steps.
    """

    observation_space, action_space = gym.spaces.Box(0, 1, (3,), np.float32), PARAMETRISED

    def _observe(self):
        self.right = int(self.np_random.integers(3))
        return np.eye(3, dtype=np.float32)[self.right]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        is_right = action["choice"] == self.right + 1
        rew = float(is_right) * (1 - abs(float(action["amount"][0]) - (self.right - 1) / 2))
        self.steps += 1
        return self._observe(), rew, False, self.steps >= 20, {}


class Noisy(Strict):
    """Random observations and rewards; accepts only actions of its space."""

    def step(self, action):
        super().step(action)
        return self.np_random.random(2, np.float32), self.np_random.random(), False, self.np_random.random() < 0.1, {}


class Recorder(pposgd_simple.PPOUpdate):
    """PPO's update, which records the ratios and the KL of all samples before the first step."""

    ratios = None

    def __call__(self, seg, rng, progress):
        ac, flatparam = (flatten_time_and_envs(seg[name]) for name in ("ac", "flatparam"))
        flat = self.processor.outputs(network_inputs(seg))[0][: len(ac)]
        new, old = (self.pi.pdtype.pdfromflat(x) for x in (flat, flatparam))
        Recorder.ratios = np.exp((new.logp(ac) - old.logp(ac)).numpy())
        Recorder.kl = old.kl(new).numpy()
        Recorder.last = self
        return super().__call__(seg, rng, progress)


@pytest.mark.parametrize(("name", "xla"), [("parametrised", False), ("nested", True), ("integers", False)])
def test_the_first_ratio_is_one_and_kl_is_zero(name, xla, monkeypatch):
    monkeypatch.setattr(pposgd_simple, "PPOUpdate", Recorder)
    monkeypatch.setattr(Policy, "xla", xla)
    env = InProcessVectorEnv([Noisy(SPACES[name]), Noisy(SPACES[name])])
    pi = pposgd_simple.learn(env, FreeLogstd, **PPO)
    assert Recorder.ratios.shape == (128,) and (Recorder.ratios == 1).all() and (Recorder.kl == 0).all()
    names = pposgd_simple.LOSS_NAMES
    kl, clipfrac = (Recorder.last.minibatch_losses[0, names.index(one)] for one in ("loss_kl", "clipfrac"))
    assert abs(kl) < 1e-6 and clipfrac == 0  # the minibatch's graph rounds differently
    assert all(np.isfinite(v).all() for v in pi.get_trainable_variables()) and np.abs(pi.w).max() > 0


@pytest.mark.parametrize(
    ("algorithm", "settings"), [(trpo_mpi, {"timesteps_per_batch": 128}), (vpg, VPG)], ids=["trpo", "vpg"]
)
def test_other_algorithms_train(algorithm, settings, uncompiled_here):
    class Separate(FreeLogstd):
        """TRPO fits a value function with separate variables."""

        def __init__(self, *args):
            super().__init__(*args)
            self.v = tf.Variable(tf.zeros([self.encoder.shape[0], 1]), name="v")

        def forward(self, ob):
            return super().forward(ob)[0], (tf.cast(ob, tf.float32) @ self.v)[:, 0]

    env = InProcessVectorEnv([Noisy(SPACES["nested"]), Noisy(SPACES["nested"])])
    pi = algorithm.learn(env, Separate, max_iters=2, seed=1, **settings)
    assert all(np.isfinite(v).all() for v in pi.get_trainable_variables())
    assert np.abs(pi.w[:, :-1]).max() > 0 and np.abs(pi.logstd + 1).max() > 0


def test_a_policy_of_mixed_actions_is_saved_and_loaded(tmp_path):
    pi = Linear("pi", Parametrised.observation_space, PARAMETRISED)
    pi.w.assign(np.random.default_rng(0).standard_normal(pi.w.shape))
    pi.save(tmp_path / "pi.safetensors")
    loaded = Linear.load(tmp_path / "pi.safetensors")
    assert list(loaded.ac_space.spaces) == list(PARAMETRISED.spaces) and loaded.ac_space == PARAMETRISED
    ob = np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(loaded.act(False, ob)[0], pi.act(False, ob)[0])


class Infinite(Linear):
    """Its second leaf's mean is NaN after the first iteration."""

    def forward(self, ob):
        flat, vpred = super().forward(ob)
        return tf.where(tf.reduce_any(self.w != 0), flat * np.nan, flat), vpred


def test_a_non_finite_action_is_reported_with_its_post_mortem_file(tmp_path, uncompiled_here):
    with pytest.raises(NonFiniteError, match="post-mortem"):
        pposgd_simple.learn(
            InProcessVectorEnv([Parametrised()]),
            Infinite,
            folder=RunDirectory(tmp_path / "run"),
            **PPO | {"max_iters": 4},
        )


def test_boxes_of_integers_with_other_bounds_are_other_actions():
    a, b = (gym.spaces.Box(0, high, (2,), np.int64) for high in (3, 4))
    assert space_difference(a, b, bounds=False) is None  # observations
    assert "high" in space_difference(a, b, bounds=False, are_actions=True)
    floats = gym.spaces.Box(0, 3, (2,), np.float32)
    assert space_difference(a, floats, bounds=False, are_actions=True) is not None
    assert space_difference(gym.spaces.Dict(x=a), gym.spaces.Dict(x=b), bounds=False, are_actions=True).startswith(
        "['x']"
    )
    with pytest.raises(UserError, match="actions differ, high"):
        pposgd_simple.learn(Strict(a), lambda name, ob, ac: Linear(name, ob, b), **PPO)
