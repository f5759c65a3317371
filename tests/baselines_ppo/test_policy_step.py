"""Natural-gradient steps: statistics against sums over samples, and the KL of an iteration."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from logs import Rows
from tolerance import LIBM, gamma, ulps

from baselines_ppo import MlpPolicy, UserError, pposgd_simple
from baselines_ppo.algorithm_setup import AlgorithmSetup
from baselines_ppo.config.settings import PPOSettings
from baselines_ppo.policy_step import NaturalStep
from common.mpi_adam import get_flat
from common.rollouts.segment import Batch
from common.training.stopping import StopCriteria

OBS, BOX, DISCRETE = gym.spaces.Box(-1, 1, (3,)), gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(3)
KFAC = {"optimizer": "kfac", "vf_iters": 2}
N = 64


class SpacesOnly(gym.Env):
    """An environment that is never stepped."""

    observation_space = OBS

    def __init__(self, action_space):
        self.action_space = action_space


def step_for(space, policy=MlpPolicy, **settings):
    setup = AlgorithmSetup(
        PPOSettings,
        {"timesteps_per_actorbatch": N, "optim_batchsize": 16} | KFAC | settings,
        {},
        StopCriteria(max_iters=1),
        SpacesOnly(space),
        lambda *args: policy(*args, hid_size=5, normalise_ob=False),
        0,
        None,
    )
    return NaturalStep(setup)


def batch_for(pi, rng):
    x = rng.standard_normal((N, 3)).astype(np.float32)
    flat, vpred = pi.forward(x)
    ac = pi.pdtype.pdfromflat(flat).sample().numpy()
    atarg, ret = (rng.standard_normal(N).astype(np.float32) for _ in range(2))
    return Batch(x, ac, flat.numpy(), vpred.numpy(), atarg, ret)


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["gaussian", "categorical"])
def test_gradient_and_factors_are_the_means_over_single_samples(space):
    step = step_for(space)
    pi, batch = step.pi, batch_for(step.pi, np.random.default_rng(1))
    valid = np.arange(N) < N - 5  # the last samples are not used
    statistics = step._run(batch, valid)
    grad, start = statistics[: step.optimizer.size], step.optimizer.size
    advantages = batch.atarg * valid / valid.sum()
    expected = []
    for i in range(N):
        with tf.GradientTape() as tape:
            logp = pi.pdtype.pdfromflat(pi.forward(batch.x[i : i + 1])[0]).logp(batch.ac[i : i + 1])[0]
        expected.append([np.asarray(g, np.float64).ravel() for g in tape.gradient(logp, step.optimizer.var_list)])
    expected = np.stack([np.concatenate(x) for x in expected])
    # Sums over N samples, of terms that passed three layers of five forward and back. A sample that is left out changes 1 / N.
    error = gamma(N + 6 * (5 + LIBM)) * np.abs(advantages) @ np.abs(expected).max(axis=1)
    np.testing.assert_allclose(grad, advantages @ expected, rtol=0, atol=error)
    # the bias gradient of a sample is its output gradient g, and the weight gradient x^T g
    for (n, m), offset in zip(step.shapes, np.cumsum([0, *(n * m + m for n, m in step.shapes)])):
        g = expected[:, offset + n * m : offset + n * m + m]
        second = np.einsum("n,ni,nj->ij", valid / valid.sum(), g, g)
        size = (n + 1) ** 2
        a, found = np.split(statistics[start : start + size + m * m], [size])
        bound = gamma(N + 6 * (5 + LIBM)) * np.square(g).sum(axis=1).max()
        np.testing.assert_allclose(found.reshape(m, m), second, rtol=0, atol=bound)
        a = a.reshape(n + 1, n + 1)
        assert a[-1, -1] == pytest.approx(1, rel=gamma(N))  # the constant that multiplies the bias
        # x^T g of a sample, summed with weights, is what x and g give: the trace of A is the mean of |x|^2 + 1
        norms = np.square(expected[:, offset : offset + n * m].reshape(N, n, m)).sum(axis=(1, 2))
        ratio = norms / np.maximum(np.square(g).sum(axis=1), 1e-30)
        assert np.trace(a) == pytest.approx(1 + (valid / valid.sum()) @ ratio, rel=1e-3)
        start += size + m * m
    assert start == len(statistics)


def test_step_size_gives_the_wanted_kl():
    """To second order: M steps along P g move the policy by (M s)^2 g' F P g / 2, and P is about the inverse of F."""
    step = step_for(BOX, kl_target=1e-4, kfac_damping=1e-3)
    batch = batch_for(step.pi, np.random.default_rng(2))
    valid = np.ones(N, bool)
    stepsize = step.begin(batch, valid, 0.0, 10)
    grad = step._run(batch, valid)[: step.optimizer.size]
    curvature = grad @ step.optimizer.precondition(tf.constant(grad)).numpy()
    assert (10 * stepsize) ** 2 * curvature / 2 == pytest.approx(1e-4, rel=1e-4)
    step.optimizer.apply(tf.constant(-grad), 10 * stepsize)
    pdtype = step.pi.pdtype
    kl = pdtype.pdfromflat(batch.flatparam).kl(pdtype.pdfromflat(step.pi.forward(batch.x)[0])).numpy().mean()
    assert 0.1e-4 < kl < 10e-4  # the factors ignore correlations between layers, and between x and g
    assert not step.end(1.4e-4)
    assert step.correction == pytest.approx(1 / np.sqrt(1.4))


def test_a_step_that_is_too_long_is_shortened():
    step = step_for(BOX, kl_target=1e-4)
    batch, valid = batch_for(step.pi, np.random.default_rng(2)), np.ones(N, bool)
    step.begin(batch, valid, 0.0, 10)
    before = get_flat(step.optimizer.var_list).numpy()
    step.optimizer.apply(tf.ones(step.optimizer.size), 1e-2)
    change = get_flat(step.optimizer.var_list).numpy() - before
    assert step.end(16e-4)
    # KL is quadratic in the distance: a quarter of the change, rounded three times
    np.testing.assert_allclose(get_flat(step.optimizer.var_list).numpy(), before + change / 4, rtol=0, atol=ulps(3, 2))
    assert step.correction == 0.5  # at most a factor of two at once


@pytest.mark.parametrize("kl", [np.inf, np.nan])
def test_a_step_to_a_policy_without_a_finite_kl_is_undone(kl):
    step = step_for(BOX, kl_target=1e-4)
    batch, valid = batch_for(step.pi, np.random.default_rng(2)), np.ones(N, bool)
    step.begin(batch, valid, 0.0, 10)
    before = get_flat(step.optimizer.var_list).numpy()
    step.optimizer.apply(tf.ones(step.optimizer.size), 1.0)
    assert step.end(kl) and step.correction == 0.5
    np.testing.assert_array_equal(get_flat(step.optimizer.var_list), before)


def test_a_gradient_of_zero_makes_no_step_and_does_not_change_the_correction():
    step = step_for(BOX)
    batch = batch_for(step.pi, np.random.default_rng(2))
    batch.atarg = np.zeros(N, np.float32)
    assert step.begin(batch, np.ones(N, bool), 0.0, 10) == 0
    assert not step.end(0.0) and step.correction == 1


def test_every_iteration_has_the_wanted_kl():
    log = Rows()
    settings = KFAC | {"timesteps_per_actorbatch": 512, "optim_batchsize": 64, "kl_target": 0.005}
    pposgd_simple.learn(gym.make("Pendulum-v1"), MlpPolicy, max_iters=12, seed=1, logger=log, **settings)
    kl = [row["loss_kl"] for row in log.rows[4:]]
    # a step is shortened if its KL is more than 1.5 times the wanted one; the KL after that is quadratic only for small steps
    assert np.median(kl) > 0.005 / 3 and max(kl) < 0.005 * 3, kl


def test_linear_schedule_reduces_the_kl_quadratically():
    step = step_for(BOX, schedule="linear", kl_target=0.01)
    batch, valid = batch_for(step.pi, np.random.default_rng(3)), np.ones(N, bool)
    first = step.begin(batch, valid, 0.0, 4)
    half = step.begin(batch, valid, 0.5, 4)
    assert step.wanted == pytest.approx(0.0025) and half == pytest.approx(first / 2)


class OwnForward(MlpPolicy):
    """A policy whose layers are unknown."""

    def forward(self, ob):
        flat, vpred = super().forward(ob)
        return 2 * flat, vpred


def test_a_policy_of_unknown_layers_is_refused():
    with pytest.raises(UserError, match="optimizer='kfac' with OwnForward.*use optimizer='adam'"):
        step_for(BOX, policy=OwnForward)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optimizer": "kfac"}, "vf_iters=0"),
        ({"optimizer": "sgd"}, "optimizer='sgd'"),
        ({"vf_iters": 2, "recompute_adv": True}, "recompute_adv=True with vf_iters=2"),
        ({"optimizer": "kfac", "vf_iters": 1, "kfac_damping": 0.0}, "kfac_damping=0"),
    ],
)
def test_invalid_settings_are_refused_before_the_first_step(settings, words):
    with pytest.raises(UserError, match=words):
        pposgd_simple.learn(gym.make("CartPole-v1"), MlpPolicy, max_iters=1, **settings)
