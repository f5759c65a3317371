"""TRPO: Fisher-vector products, trust region, line search, learning."""

import exact_networks
import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from logs import Rows
from tolerance import LIBM, gamma, ulps

from baselines_ppo import MlpPolicy, UserError, trpo_mpi
from baselines_ppo.algorithm_setup import AlgorithmSetup
from baselines_ppo.config.settings import TRPOSettings
from common.mpi_adam import get_flat
from common.rollouts.segment import Batch
from common.training.stopping import StopCriteria

OBS, BOX, DISCRETE = gym.spaces.Box(-1, 1, (3,)), gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(3)


class SpacesOnly(gym.Env):
    """An environment that is never stepped."""

    observation_space = OBS

    def __init__(self, action_space):
        self.action_space = action_space


def update_for(space, **settings):
    setup = AlgorithmSetup(
        TRPOSettings,
        {"timesteps_per_batch": 64, "vf_batchsize": 16} | settings,
        {},
        StopCriteria(max_iters=1),
        SpacesOnly(space),
        lambda *args: MlpPolicy(*args, hid_size=5, normalise_ob=False),
        0,
        None,
    )
    return trpo_mpi.TRPOUpdate(setup)


def batch_for(pi, space, rng, n=64):
    x = rng.standard_normal((n, 3)).astype(np.float32)
    flat, vpred = pi.forward(x)
    ac = rng.integers(0, 3, n).astype(np.int32) if space is DISCRETE else pi.pdtype.pdfromflat(flat).sample().numpy()
    atarg, ret = (rng.standard_normal(n).astype(np.float32) for _ in range(2))
    return Batch(x, ac, flat.numpy(), vpred.numpy(), atarg, ret)


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["gaussian", "categorical"])
def test_fisher_vector_products_equal_those_of_the_explicit_matrix(space):
    rng = np.random.default_rng(1)
    update = update_for(space)
    batch = batch_for(update.pi, space, rng)
    with tf.GradientTape() as tape:
        flat = update.pi.forward(batch.x)[0]
    jacobian = np.concatenate(
        [j.numpy().reshape(64, flat.shape[1], -1) for j in tape.jacobian(flat, update.variables)], axis=2
    ).astype(np.float64)
    flat = flat.numpy().astype(np.float64)
    if space is DISCRETE:  # Fisher matrix of a categorical with respect to logits: diag(p) - p p'
        p = np.exp(flat) / np.exp(flat).sum(axis=1, keepdims=True)
        inner = np.einsum("ni,ij->nij", p, np.eye(3)) - np.einsum("ni,nj->nij", p, p)
    else:  # of a Gaussian with respect to mean and log std: 1 / var, and 2
        inner = np.einsum(
            "ni,ij->nij", np.concatenate([np.exp(-2 * flat[:, 2:]), np.full((64, 2), 2.0)], axis=1), np.eye(4)
        )
    fisher = np.einsum("nia,nij,njb->ab", jacobian, inner, jacobian) / 64
    tensors = update._tensors(batch, np.ones(64, bool))
    # The Jacobian passes two layers of 5 twice, the product four times, and the product sums 64 samples. Roundings are relative to
    # |J|' |inner| |J| |v|, and at least to its norm where an entry of J cancels. A missing part of the matrix would change about 1.
    size = np.einsum("nia,nij,njb->ab", np.abs(jacobian), np.abs(inner), np.abs(jacobian)) / 64
    for _ in range(3):
        v = rng.standard_normal(len(fisher)).astype(np.float32)
        error = gamma(64 + 6 * 2 * (5 + LIBM)) * np.linalg.norm(size @ np.abs(v))
        assert error < 0.01 * np.linalg.norm(fisher @ v)
        np.testing.assert_allclose(
            update._fisher_product(*tensors, tf.constant(v)).numpy(), fisher @ v, rtol=0, atol=error
        )


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["gaussian", "categorical"])
@pytest.mark.parametrize("max_kl", [1e-4, 1e-2, 0.3])
def test_step_improves_the_surrogate_within_the_trust_region(space, max_kl):
    update = update_for(space, max_kl=max_kl, cg_damping=0.1)
    batch = batch_for(update.pi, space, np.random.default_rng(2))
    stats = update.step(batch, np.ones(64, bool))
    assert stats["linesearch_halvings"] < trpo_mpi.MAX_HALVINGS
    pdtype, flat = update.pi.pdtype, update.pi.forward(batch.x)[0]
    old, new = (pdtype.pdfromflat(tf.cast(f, tf.float64)) for f in (batch.flatparam, flat))
    kl = old.kl(new).numpy().mean()
    surr = (np.exp((new.logp(batch.ac) - old.logp(batch.ac)).numpy()) * batch.atarg).mean()
    # the limit, up to the rounding of logarithms up to 2, of the terms and of their sum of 64; and not because the step is too short
    assert max_kl / 8 < kl <= max_kl * (1 + gamma(64 + LIBM)) + ulps(LIBM, 2)
    assert surr > batch.atarg.mean()
    # a mean of 64 ratios times advantages, each with the rounding of logarithms up to 8, is off by 1e-5; improvements are at least 0.005
    error = (gamma(64) + ulps(LIBM, 8)) * np.abs(batch.atarg).mean() * 2
    assert (
        stats["improvement"] == pytest.approx(surr - batch.atarg.mean(), rel=0, abs=error)
        and error < stats["improvement"] / 20
    )


def test_no_step_is_made_if_none_improves():
    update = update_for(BOX)
    batch = batch_for(update.pi, BOX, np.random.default_rng(2))
    batch.atarg = np.zeros(64, np.float32)
    before = get_flat(update.variables).numpy()
    stats = update.step(batch, np.ones(64, bool))
    # Two graphs compute the means; with standard deviation 1, half the square of their difference is the KL. A step would cause at least 0.005.
    error = exact_networks.mlp(update.pi, batch.x)[0].error
    assert (
        stats["linesearch_halvings"] == trpo_mpi.MAX_HALVINGS
        and abs(stats["loss_kl"]) <= np.square(2 * error).sum(axis=1).max() / 2 < 1e-6
    )
    np.testing.assert_array_equal(get_flat(update.variables).numpy(), before)


def test_step_that_is_too_long_is_halved():
    update = update_for(BOX, max_kl=0.01, cg_iters=1, cg_damping=0.0)
    batch = batch_for(update.pi, BOX, np.random.default_rng(4))
    product = update._fisher_product_graph
    # a model of the KL that is 16 times too small makes the step 4 times too long
    update._fisher_product = tf.function(lambda *args: product(*args) / 16)
    stats = update.step(batch, np.ones(64, bool))
    assert 1 <= stats["linesearch_halvings"] < trpo_mpi.MAX_HALVINGS and 0 < stats["loss_kl"] <= 0.01


def test_learns_and_traces_each_compiled_function_once(monkeypatch):
    updates, log = [], Rows()

    class Recorder(trpo_mpi.TRPOUpdate):
        def __init__(self, setup):
            super().__init__(setup)
            updates.append(self)

    monkeypatch.setattr(trpo_mpi, "TRPOUpdate", Recorder)
    trpo_mpi.learn(gym.make("CartPole-v1"), MlpPolicy, timesteps_per_batch=512, max_iters=20, seed=0, logger=log)
    rows = log.rows
    update = updates[0]
    functions = [
        update._gradient,
        update._fisher_product,
        update._objective,
        update.value_fit.optimizer.strategy.compiled_graph,
        update.processor._outputs,
    ]
    assert [function.experimental_get_tracing_count() for function in functions] == [1] * 5
    assert rows[-1]["EpRewMean"] > 60 > rows[0]["EpRewMean"]
    assert all(row["loss_kl"] <= 0.01 for row in rows)


@pytest.mark.parametrize(
    "setting", [{"max_kl": 0.0}, {"cg_iters": 0}, {"cg_damping": -1.0}, {"vf_batchsize": 4096}, {"clip_param": 0.1}]
)
def test_invalid_settings_are_rejected_before_the_first_step(setting):
    with pytest.raises(UserError, match=next(iter(setting))):
        trpo_mpi.learn(SpacesOnly(BOX), MlpPolicy, max_iters=1, **setting)
