"""Training with action masks: no invalid action is ever taken, and the distributions are those over valid actions alone."""

import gymnasium as gym
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from masked_envs import Corridor
from tolerance import gamma, ulps

from baselines_ppo import MlpPolicy, Policy, evaluate_policy, learn, load_policy, pposgd_simple, trpo_mpi, vpg
from common.envs.action_masks import ActionMaskWrapper
from common.errors import EnvError, UserError
from common.rollouts.segment import network_inputs
from common.vec_env.in_process import InProcessVectorEnv

pytestmark = pytest.mark.usefixtures("uncompiled_here")
PPO = {"timesteps_per_actorbatch": 120, "optim_batchsize": 40, "optim_epochs": 3, "optim_stepsize": 1e-2}


def small(*spaces):
    return MlpPolicy(*spaces, hid_size=16)


def train(env, algorithm=learn, **kwargs):
    return algorithm(env, small, **{"max_iters": 3, "seed": 1} | (PPO if algorithm is learn else {}) | kwargs)


ENVIRONMENTS = {
    "method": lambda: Corridor("method"),
    "info": lambda: Corridor("info"),
    "observation": lambda: Corridor("observation"),
    "in this process": lambda: InProcessVectorEnv([Corridor("info") for _ in range(3)]),
    **{
        mode.name: lambda mode=mode: SyncVectorEnv([lambda: Corridor("info")] * 3, autoreset_mode=mode)
        for mode in AutoresetMode
    },
}


# the corridor raises an error for an invalid action; three of five are never valid, and at place 0 only one is
@pytest.mark.parametrize("make", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_no_invalid_action_is_taken_in_any_environment(make):
    pi = train(make())
    assert pi.masked
    for deterministic in (True, False):
        assert evaluate_policy(pi, Corridor("info"), 5, deterministic).lengths.min() >= 4


ALGORITHMS = {
    "separate_fit": (learn, {"vf_iters": 1}),
    "adaptive_kl": (learn, {"objective": "adaptive_kl"}),
    "trpo": (trpo_mpi.learn, {"timesteps_per_batch": 120, "vf_batchsize": 40}),
    "a2c": (vpg.learn, {"timesteps_per_actorbatch": 40, "whole_episodes": False, "vf_iters": 0}),
    "reinforce": (vpg.learn, {"timesteps_per_actorbatch": 120, "vf_batchsize": 40}),
}


@pytest.mark.parametrize(("algorithm", "settings"), ALGORITHMS.values(), ids=ALGORITHMS)
def test_no_invalid_action_is_taken_by_any_algorithm(algorithm, settings):
    pi = train(Corridor("method"), algorithm, **settings)
    assert all(np.isfinite(v.numpy()).all() for v in pi.get_variables())


class Linear(Policy):
    """A user's policy, which knows nothing of masks."""

    def __init__(self, name, ob_space, ac_space):
        super().__init__(name, ob_space, ac_space)
        (n,), (p,) = self.network_encoder.shape, self.pdtype.param_shape()
        self.w, self.vf_w = tf.Variable(tf.zeros([n, p])), tf.Variable(tf.zeros([n, 1]))

    def forward(self, ob):
        ob = tf.cast(ob, tf.float32)
        return ob @ self.w, (ob @ self.vf_w)[:, 0]


def test_a_custom_policy_takes_no_invalid_action():
    pi = learn(Corridor("method"), Linear, max_iters=2, seed=1, **PPO)
    assert evaluate_policy(pi, Corridor("info"), 3, deterministic=False).lengths.min() >= 4


def test_without_masks_the_same_environment_refuses_an_action():
    with pytest.raises(EnvError, match="invalid action"):
        train(Corridor("info"), action_masks=False)


def test_learn_finds_the_way():
    pi = train(Corridor("info", goal=6, num_actions=50), max_iters=12)
    assert evaluate_policy(pi, Corridor("info", goal=6, num_actions=50), 3).lengths.tolist() == [6, 6, 6]


class Recorder(pposgd_simple.PPOUpdate):
    """PPO's update, which records the batch and the ratios of all samples before the first step."""

    def __call__(self, seg, rng, progress):
        Recorder.last = self
        batch, _ = self.make_batch(seg)
        flat = self.processor.outputs(network_inputs(seg))[0][: len(batch.x)]
        new, old = self.pi.pdtype.pdfromflat(flat), self.pi.pdtype.pdfromflat(batch.flatparam)
        self.ratios, self.entropies = np.exp((new.logp(batch.ac) - old.logp(batch.ac)).numpy()), old.entropy().numpy()
        self.seg = seg
        return super().__call__(seg, rng, progress)


@pytest.mark.parametrize("make", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_the_first_ratio_is_one_and_the_first_kl_zero(monkeypatch, make):
    monkeypatch.setattr(pposgd_simple, "PPOUpdate", Recorder)
    train(make())
    first = Recorder.last.minibatch_losses[0]
    names = pposgd_simple.LOSS_NAMES
    np.testing.assert_allclose(Recorder.last.ratios, 1, rtol=0, atol=ulps(4, 1))
    assert abs(first[names.index("loss_kl")]) < 1e-6
    assert first[names.index("clipfrac")] == 0
    mask, ac, valid = Recorder.last.seg["ob"]["action_mask"], Recorder.last.seg["ac"], Recorder.last.seg["valid"]
    # of at most two valid actions: log 2, and not log 5; a step that only resets has no mask
    assert (Recorder.last.entropies > np.log(2) + 1e-6).sum() <= (~valid).sum()
    assert np.take_along_axis(mask, ac[..., None], axis=-1)[valid].all()


SPACES = {
    "Discrete": (gym.spaces.Discrete(4, start=2), [1, 0, 0, 1], [4]),
    "MultiDiscrete": (gym.spaces.MultiDiscrete([2, 3]), [0, 1, 1, 0, 1], [2, 3]),
    "MultiBinary": (gym.spaces.MultiBinary(2), [1, 1, 0, 1], [2, 2]),
}


class Fixed(gym.Env):
    """Gives one mask in every step."""

    observation_space = gym.spaces.Box(-1, 1, (2,))

    def __init__(self, space, mask):
        self.action_space, self.mask = space, np.array(mask, bool)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {"action_mask": self.mask}

    def step(self, action):
        self.steps += 1
        ob = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return ob, float(np.sum(action)), False, self.steps >= 20, {"action_mask": self.mask}


def choices_of(space, actions):
    """[N, factors] choices counted from 0."""
    return np.reshape(np.asarray(actions, int), (len(actions), -1)) - np.reshape(getattr(space, "start", 0), -1)


@pytest.mark.parametrize(("space", "mask", "sizes"), SPACES.values(), ids=SPACES)
def test_probabilities_are_those_of_a_softmax_over_the_valid_choices(space, mask, sizes):
    pi = train(Fixed(space, mask), timesteps_per_actorbatch=40)
    obs = np.random.default_rng(0).uniform(-1, 1, (50, 2)).astype(np.float32)
    masks = np.tile(np.array(mask, bool), (50, 1))
    logits = pi.forward(pi.prepare(obs))[0].numpy().astype(float)
    if isinstance(space, gym.spaces.MultiBinary):
        logits = np.stack([np.zeros_like(logits), logits], axis=-1).reshape(50, -1)
    logp = []
    for start, size in zip(np.cumsum([0, *sizes[:-1]]), sizes):
        valid = np.where(masks[:, start : start + size], logits[:, start : start + size], -np.inf)
        logp.append(scipy.special.log_softmax(valid, axis=1))
    ac, _ = pi.act(True, obs, action_masks=masks)
    expected = sum(part[np.arange(50), column] for part, column in zip(logp, choices_of(space, ac).T))
    assert np.isfinite(expected).all()  # no invalid choice
    pd = pi.pd(obs, action_masks=masks)
    # a log-softmax in float32 of logits below 10
    np.testing.assert_allclose(pd.logp(ac), expected, rtol=0, atol=20 * gamma(20, np.float32))
    entropy = sum(scipy.special.entr(np.exp(part)).sum(axis=1) for part in logp)
    np.testing.assert_allclose(pd.entropy(), entropy, rtol=0, atol=20 * gamma(20, np.float32))
    mode = pi.act(False, obs, action_masks=masks)[0]
    best = np.stack([np.argmax(part, axis=1) for part in logp], axis=1)
    assert (choices_of(space, mode) == best).all()


def test_an_invalid_choice_is_not_taken_however_likely_the_network_finds_it():
    pi = train(Fixed(gym.spaces.Discrete(3), [1, 1, 0]), max_iters=1)
    pi.weights["pol/final/b"].assign([0.0, 0.0, 1e6])
    obs, masks = np.zeros((500, 2), np.float32), [[1, 1, 0]] * 500
    assert set(pi.predict(obs, action_masks=masks).tolist()) == {0, 1}
    assert 2 not in pi.predict(obs, deterministic=True, action_masks=masks)


def test_the_forms_of_an_observation_give_the_same_action(tmp_path):
    pi = train(Corridor("info"))
    pi.save(tmp_path / "pi.safetensors")
    loaded = load_policy(tmp_path / "pi.safetensors")
    env = ActionMaskWrapper(Corridor("info", goal=9))
    ob, info = env.reset()
    for policy in (pi, loaded):
        for _ in range(3):
            action = policy.predict(ob, deterministic=True)
            plain = ob["observation"]
            assert action == policy.predict(plain, deterministic=True, action_masks=info["action_mask"])
            assert action == policy.predict(plain[None], deterministic=True, action_masks=[info["action_mask"]])[0]
            assert info["action_mask"][action] == 1
            ob, _, _, _, info = env.step(action)
    with pytest.raises(UserError, match="trained with action masks"):
        pi.predict(ob["observation"])
    with pytest.raises(UserError, match="the policy was trained with action masks, and Corridor gives none"):
        evaluate_policy(pi, Corridor(None))


def test_the_network_does_not_see_the_mask():
    pi = train(Corridor("info"))
    assert pi.weights["pol/fc1/w"].shape == (1, 16)
    ob = np.float32([1])
    values = {float(pi.vpred(ob, action_masks=mask)[0]) for mask in ([1, 1, 0, 0, 0], [0, 0, 0, 0, 1])}
    assert len(values) == 1


def test_a_policy_without_masks_cannot_continue_with_them(tmp_path):
    pi = small("pi", Corridor().observation_space, gym.spaces.Discrete(5))
    pi.save(tmp_path / "plain.safetensors")
    with pytest.raises(UserError, match="action_mask"):
        train(Corridor("info"), load_path=tmp_path / "plain.safetensors")
