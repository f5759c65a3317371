"""Invariants of a training in one process: first ratio, logged KL, number of traces, observation normalization, time limits."""

import exact_networks
import gymnasium as gym
import numpy as np
import pytest
import scipy.stats
from small_envs import FarAway, Ragged
from tolerance import gamma, ulps

from baselines_ppo import MlpPolicy, pposgd_simple
from common.rollouts.segment import network_inputs
from common.vec_env.in_process import InProcessVectorEnv


class Recorder(pposgd_simple.PPOUpdate):
    """PPO's update, which records the batch and the ratios of all samples before the first step."""

    last = None

    def __call__(self, seg, rng, progress):
        Recorder.last = self
        batch, _ = self.make_batch(seg)
        pdtype = self.pi.pdtype
        flat = self.processor.outputs(network_inputs(seg))[0][: len(batch.x)]
        new, old = pdtype.pdfromflat(flat), pdtype.pdfromflat(batch.flatparam)
        self.ratios = np.exp((new.logp(batch.ac) - old.logp(batch.ac)).numpy())
        self.batch = batch
        return super().__call__(seg, rng, progress)


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(pposgd_simple, "PPOUpdate", Recorder)
    return Recorder


def train(env, init_logstd=0.0, **kwargs):
    settings = {"timesteps_per_actorbatch": 256, "optim_epochs": 2, "max_iters": 3, "seed": 1} | kwargs
    return pposgd_simple.learn(env, lambda *args: MlpPolicy(*args, hid_size=16, init_logstd=init_logstd), **settings)


@pytest.mark.parametrize("init_logstd", [0.0, -5.0])
def test_ratio_is_one_and_kl_zero_on_the_first_minibatch(recorder, init_logstd):
    train(gym.make("Pendulum-v1"), init_logstd)
    kl, clipfrac = (
        recorder.last.minibatch_losses[0, pposgd_simple.LOSS_NAMES.index(name)] for name in ("loss_kl", "clipfrac")
    )
    assert (recorder.last.ratios == 1).all()  # exact, because one compiled function with one shape computed both
    # The minibatch's graph is another function. An error of its means causes a KL of half its square, in units of the standard
    # deviation. Updating the normalization between acting and optimising would cause 0.01 at a standard deviation of exp(-5).
    error = exact_networks.mlp(recorder.last.processor.oldpi, recorder.last.batch.x, prepared=True)[0].error
    assert abs(kl) < np.square(2 * error / np.exp(init_logstd)).sum(axis=1).max() / 2 < 1e-3 and clipfrac == 0


def test_logged_kl_is_kl_from_the_old_policy_to_the_new(recorder):
    pi = train(gym.make("Pendulum-v1"))
    batch = recorder.last.batch
    new = pi.pdtype.pdfromflat(pi.forward(batch.x)[0])
    old_mean, old_logstd = np.split(batch.flatparam.astype(np.float64), 2, axis=1)
    mean, logstd = new.mean.numpy().astype(np.float64), new.logstd.numpy().astype(np.float64)
    # definition: the mean over old samples of log p_old - log p_new, on a grid of quantiles
    quantiles = (np.arange(4000) + 0.5) / 4000
    x = scipy.stats.norm.ppf(quantiles)[None] * np.exp(old_logstd) + old_mean
    kl = (
        scipy.stats.norm.logpdf(x, old_mean, np.exp(old_logstd)) - scipy.stats.norm.logpdf(x, mean, np.exp(logstd))
    ).mean()
    terms = recorder.last.optimizer.evaluate(batch.arrays(), np.full(256, 1 / 256, np.float32), [0.2, 1.0])
    # the grid leaves out the outermost 1/8000 on each side, which is 1e-3 of the second moment; the error of float32 is smaller
    assert terms[pposgd_simple.LOSS_NAMES.index("loss_kl")] == pytest.approx(kl, rel=5e-3)


@pytest.mark.parametrize("mode", list(gym.vector.AutoresetMode))
def test_each_compiled_function_is_traced_once_in_twenty_iterations(recorder, mode):
    env = gym.vector.SyncVectorEnv([Ragged] * 2, autoreset_mode=mode)
    train(env, timesteps_per_actorbatch=64, optim_batchsize=16, max_iters=20)
    last = recorder.last
    optimizer, processor = last.optimizer, last.processor
    functions = [optimizer.strategy.compiled_graph, optimizer._evaluate, processor._outputs, processor._copy]
    assert [function.experimental_get_tracing_count() for function in functions] == [1, 1, 1, 1]


def test_normalization_contains_all_segments_but_the_current_one(uncompiled_here):
    counts, obs, x = [], [], []

    def callback(local, _):
        counts.append(local["pi"].ob_rms.count)
        if local["seg"] is not None:
            obs.append(local["seg"]["ob"][:, 0])
            x.append(local["seg"]["x"][:, 0])

    pi = train(InProcessVectorEnv([FarAway()]), callback=callback)
    assert counts == [0, 256, 512, 768]  # before each of three iterations, and after the last one
    # error of two float64 means of up to 768 numbers near 1,000; standard deviations are above 0.3
    shift = 2 * gamma(768 + 10, np.float64) * 1001
    # A segment is optimised as it was acted: normalised by the segments before it. Without statistics, an offset of 1,000 is clipped to 5.
    for n in (1, 2):
        seen = np.concatenate(obs[:n])
        np.testing.assert_allclose(
            x[n], np.clip((obs[n] - seen.mean(axis=0)) / seen.std(axis=0), -5, 5), atol=ulps(1, 5) + shift / 0.3
        )
    np.testing.assert_allclose(pi.ob_rms.mean, np.concatenate(obs).mean(axis=0), rtol=0, atol=shift)
    np.testing.assert_allclose(pi.ob_rms.std, np.concatenate(obs).std(axis=0), rtol=0, atol=2 * shift)


class Once(gym.Env):
    """Episodes of one step with reward 0, ended by a termination or by a time limit."""

    observation_space = action_space = gym.spaces.Box(-1, 1, (1,))

    def __init__(self, terminates):
        self.terminates = terminates

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), 0.0, self.terminates, not self.terminates, {}


def test_time_limits_bootstrap_and_terminations_do_not():
    for terminates in (True, False):
        pi = MlpPolicy("pi", Once.observation_space, Once.action_space, init="orthogonal")
        seg = next(pposgd_simple.traj_segment_generator(pi, Once(terminates), 8, True, seed=0))
        pposgd_simple.add_vtarg_and_adv(seg, 0.9, 0.95)
        final = exact_networks.mlp(pi, np.ones((1, 1)))[1]
        # advantage and target are rounded once each, and are below twice the values
        np.testing.assert_allclose(
            seg["tdlamret"],
            0.0 if terminates else 0.9 * final.value[0],
            rtol=0,
            atol=final.error[0] + ulps(2, np.abs(seg["vpred"]).max()),
        )
        assert np.abs(final.value[0]) > 0.1


@pytest.mark.parametrize("bootstrap", [True, False])
def test_learn_treats_a_time_limit_as_termination_only_if_set(recorder, uncompiled_here, bootstrap):
    train(
        Once(terminates=False),
        timesteps_per_actorbatch=8,
        optim_batchsize=8,
        bootstrap_time_limits=bootstrap,
        max_iters=1,
    )
    # reward 0, one step: A + V is gamma V(final), or 0 up to the rounding of a float32 sum of numbers below 1
    assert (np.abs(recorder.last.batch.ret) > 1e-4).all() if bootstrap else np.abs(recorder.last.batch.ret).max() < 1e-6
