"""Memory, masks, mixed observations and mixed actions in every combination: the invariants of a training."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
from tolerance import ulps

from baselines_ppo import MlpPolicy, pposgd_simple
from baselines_ppo.networks.mixed_policy import MixedPolicy
from common.rollouts.segment import flatten_time_and_envs
from common.vec_env.in_process import InProcessVectorEnv

CHOICES = 5
MIXED_OBSERVATIONS = gym.spaces.Dict(
    {
        "camera": gym.spaces.Box(0, 255, (24, 20, 3), np.uint8),
        "arm": gym.spaces.Tuple((gym.spaces.Box(-10, 10, (2,)), gym.spaces.Discrete(3, start=1))),
    }
)
MIXED_ACTIONS = gym.spaces.Dict({"choice": gym.spaces.Discrete(CHOICES), "amount": gym.spaces.Box(-1, 1, (2,))})


class Combined(gym.Env):
    """Random observations, and episodes of 3 to 9 steps; an invalid choice raises."""

    def __init__(self, masked, mixed_ob, mixed_ac):
        self.observation_space = MIXED_OBSERVATIONS if mixed_ob else gym.spaces.Box(-10, 10, (4,), np.float64)
        self.action_space = MIXED_ACTIONS if mixed_ac else gym.spaces.Discrete(CHOICES)
        self.mixed_ac = mixed_ac
        if masked:
            self.action_masks = lambda: self.valid

    def _observe(self):
        self.valid = self.np_random.random(CHOICES) < 0.4
        self.valid[self.np_random.integers(CHOICES)] = True
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample()

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.left = self.np_random.integers(3, 10)
        return self._observe(), {}

    def step(self, action):
        choice = action["choice"] if self.mixed_ac else action
        assert not hasattr(self, "action_masks") or self.valid[choice], "an invalid action was taken"
        assert self.action_space.contains(action)
        self.left -= 1
        reward = float(choice) + self.np_random.normal()
        return self._observe(), reward, bool(self.left == 0), bool(self.left == 1 and choice == 0), {}


class Recorder(pposgd_simple.PPOUpdate):
    """PPO's update, which records the first minibatch of each iteration and the ratios of all samples before it."""

    first_losses, ratios, batches = [], [], []

    def __call__(self, seg, rng, progress):
        batch, valid = self.make_batch(seg)
        pdtype = self.pi.pdtype
        flat, _ = self.pi.outputs(batch.x)
        new, old = pdtype.pdfromflat(flat), pdtype.pdfromflat(batch.flatparam)
        Recorder.ratios.append(np.exp((new.logp(batch.ac) - old.logp(batch.ac)).numpy())[valid])
        Recorder.batches.append((seg, batch, valid))
        losses = super().__call__(seg, rng, progress)
        Recorder.first_losses.append(dict(zip(pposgd_simple.LOSS_NAMES, self.minibatch_losses[0])))
        return losses


@pytest.fixture
def recorder(monkeypatch):
    for records in (Recorder.first_losses, Recorder.ratios, Recorder.batches):
        records.clear()
    monkeypatch.setattr(pposgd_simple, "PPOUpdate", Recorder)
    return Recorder


COMPILED_WITH_XLA = (
    (None, True, False, True),
    ("lstm", True, False, True),
    ("gru", False, False, False),
)  # takes longer
COMBINATIONS = list(itertools.product([None, "lstm", "gru"], [False, True], [False, True], [False, True]))


@pytest.mark.parametrize(("memory", "masked", "mixed_ob", "mixed_ac"), COMBINATIONS)
def test_first_ratio_is_one_and_kl_zero(recorder, memory, masked, mixed_ob, mixed_ac):
    env = InProcessVectorEnv([Combined(masked, mixed_ob, mixed_ac) for _ in range(2)])
    settings = {"memory": memory, "memory_size": 6, "memory_steps": 4, "hidden": [8]}
    policy_class = MixedPolicy if mixed_ob else MlpPolicy
    with_xla = (memory, masked, mixed_ob, mixed_ac) in COMPILED_WITH_XLA
    settings |= {"kind": "small"} if mixed_ob else {}

    def build(*args):
        pi = policy_class(*args, **settings)
        pi.xla = with_xla
        return pi

    pi = pposgd_simple.learn(
        env,
        build,
        timesteps_per_actorbatch=64,
        optim_batchsize=16,
        optim_epochs=1,
        optim_stepsize=1e-2,
        max_iters=2,
        seed=1,
    )
    assert pi.recurrent == (memory is not None) and pi.masked == masked
    for losses, ratios in zip(recorder.first_losses, recorder.ratios):
        # two graphs of the same network: their outputs differ by the rounding of some dozen operations
        np.testing.assert_allclose(ratios, 1, atol=ulps(64, 10.0))
        assert abs(losses["loss_kl"]) < 1e-6 and losses["clipfrac"] == 0
    if masked:
        for seg, _, _ in recorder.batches:
            flat = flatten_time_and_envs(seg["flatparam"])
            mask = flatten_time_and_envs(seg["ob"])["action_mask"]
            start = 0 if not mixed_ac else pi.pdtype.param_shape()[0] - CHOICES
            logits = flat[:, start : start + CHOICES] if start else flat[:, :CHOICES]
            if not mixed_ac:
                assert (logits[mask == 0] < -1e30).all() and (logits[mask == 1] > -1e30).all()


@pytest.mark.parametrize("memory", ["lstm", "gru"])
def test_sequences_hold_every_step_once_with_the_state_before_them(recorder, memory, uncompiled_here):
    env = InProcessVectorEnv([Combined(False, False, False) for _ in range(2)])
    pposgd_simple.learn(
        env,
        lambda *args: MlpPolicy(*args, memory=memory, memory_size=6, memory_steps=5, hidden=[8]),
        timesteps_per_actorbatch=64,  # 32 steps of an environment: six sequences of 5 and one of 2
        optim_batchsize=10,
        optim_epochs=1,
        max_iters=2,
        seed=1,
    )
    for seg, batch, valid in recorder.batches:
        assert valid.shape == (14, 5) and valid.sum() == 64
        order = np.argsort(batch.ret[valid], kind="stable")
        np.testing.assert_array_equal(batch.ret[valid][order], np.sort(seg["tdlamret"].ravel()))


def test_a_minibatch_that_is_not_made_of_sequences_is_refused():
    with pytest.raises(Exception, match="optim_batchsize=10: must be a multiple of 4"):
        pposgd_simple.learn(
            gym.make("CartPole-v1"),
            lambda *args: MlpPolicy(*args, memory="gru", memory_steps=4),
            timesteps_per_actorbatch=64,
            optim_batchsize=10,
            max_iters=1,
        )
