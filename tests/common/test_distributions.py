"""Values and gradients of the action distributions, eagerly and compiled with XLA, compared with SciPy in float64."""

import functools
import itertools

import gymnasium as gym
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from distribution_references import reference_of

from common.distributions import NumpyOperators, make_pdtype

EPS = float(np.finfo(np.float32).eps)
INF = np.inf
SPACES = {
    "box": gym.spaces.Box(-1, 1, (3,)),
    "box_rank_0": gym.spaces.Box(-1, 1, ()),
    "box_matrix_unbounded": gym.spaces.Box(-INF, INF, (2, 2)),
    "discrete": gym.spaces.Discrete(4),
    "discrete_start": gym.spaces.Discrete(4, start=-2),
    "multidiscrete": gym.spaces.MultiDiscrete([2, 3, 4]),
    "multidiscrete_matrix_start": gym.spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[1, -1], [0, 5]]),
    "multidiscrete_small_and_large": gym.spaces.MultiDiscrete([9, 2, 12, 1], start=[0, 3, 0, -2]),
    "multibinary": gym.spaces.MultiBinary(3),
    "multibinary_matrix": gym.spaces.MultiBinary([2, 2]),
}
BATCH = 8
# spaces that are also compiled, because XLA takes seconds for each
COMPILED = (
    "box",
    "box_rank_0",
    "box_matrix_unbounded",
    "discrete_start",
    "multidiscrete_matrix_start",
    "multibinary_matrix",
)
every_space = pytest.mark.parametrize("name", SPACES)
eager_and_compiled = pytest.mark.parametrize(
    ("name", "compiled"), [(name, False) for name in SPACES] + [(name, True) for name in COMPILED]
)
every_discrete_space = pytest.mark.parametrize("name", [name for name in SPACES if not name.startswith("box")])
ordinary_or_extreme = pytest.mark.parametrize("regime", ["ordinary", "extreme"])


def parameters(space, regime, rng):
    size = make_pdtype(space).param_shape()[0]
    if isinstance(space, gym.spaces.Box):
        mean = rng.standard_normal((BATCH, size // 2))
        logstd = rng.uniform(-1, 0.5, mean.shape) if regime == "ordinary" else rng.choice([-20.0, 2.0], mean.shape)
        flat = np.concatenate([mean, logstd], axis=1)
    else:
        flat = rng.normal(0, 2, (BATCH, size)) if regime == "ordinary" else rng.choice([-50.0, 50.0], (BATCH, size))
    return flat.astype(np.float32)


def inputs(name, regime):
    """Return parameters of p and of q, and actions drawn from q; under p, some of them are almost impossible."""
    rng, pdtype = np.random.default_rng(7), make_pdtype(SPACES[name])
    flat, other = parameters(pdtype.space, regime, rng), parameters(pdtype.space, regime, rng)
    return flat, other, pdtype.sample(NumpyOperators, other, pdtype.noise(rng, (BATCH,)))


@functools.cache
def evaluator(name, compiled):
    pdtype = make_pdtype(SPACES[name])

    def evaluate(flat, other, x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch((flat, other))
            p, q = pdtype.pdfromflat(flat), pdtype.pdfromflat(other)
            out = {
                "logp": p.logp(x),
                "neglogp": p.neglogp(x),
                "entropy": p.entropy(),
                "kl": p.kl(q),
                "kl_self": p.kl(pdtype.pdfromflat(flat)),
            }
        out |= {f"d{value}": tape.gradient(out[value], flat) for value in ("logp", "entropy", "kl", "kl_self")}
        out["dkl_other"] = tape.gradient(out["kl"], other)
        return out | {"mode": p.mode()}

    return tf.function(evaluate, jit_compile=True) if compiled else evaluate


@functools.cache
def results(name, regime, compiled):
    flat, other, x = inputs(name, regime)
    out = evaluator(name, compiled)(tf.constant(flat), tf.constant(other), tf.constant(x))
    return {key: value.numpy() for key, value in out.items()}


def assert_rounding(actual, expected, flat):
    """Check a sum of at most 8 terms. Each has an error of a few ulp (8 for an exponential, squared) or one ulp of its
    logit.

    Together the error is at most 32 ulp of the value and of the inputs.
    """
    scale = 8 + np.abs(flat).sum(axis=1)
    assert actual.shape == expected.shape
    np.testing.assert_array_less(np.abs(actual - expected), 32 * EPS * (np.abs(expected) + scale))


@eager_and_compiled
@ordinary_or_extreme
def test_logp_equals_scipy(name, regime, compiled):
    flat, _, x = inputs(name, regime)
    expected = reference_of(SPACES[name]).logp(
        flat.astype(np.float64), x.astype(np.float64) if x.dtype == np.float32 else x
    )
    assert_rounding(results(name, regime, compiled)["logp"], expected, flat)


@eager_and_compiled
def test_neglogp_is_minus_logp(name, compiled):
    out = results(name, "ordinary", compiled)
    np.testing.assert_array_equal(out["neglogp"], -out["logp"])


@eager_and_compiled
@ordinary_or_extreme
def test_entropy_equals_scipy(name, regime, compiled):
    flat, _, _ = inputs(name, regime)
    assert_rounding(
        results(name, regime, compiled)["entropy"], reference_of(SPACES[name]).entropy(flat.astype(np.float64)), flat
    )


@eager_and_compiled
@ordinary_or_extreme
def test_kl_is_of_self_relative_to_other(name, regime, compiled):
    flat, other, _ = inputs(name, regime)
    expected = reference_of(SPACES[name]).kl(flat.astype(np.float64), other.astype(np.float64))
    assert_rounding(results(name, regime, compiled)["kl"], expected, np.concatenate([flat, other], axis=1))


@eager_and_compiled
@ordinary_or_extreme
def test_kl_to_itself_is_exactly_zero(name, regime, compiled):
    np.testing.assert_array_equal(results(name, regime, compiled)["kl_self"], np.zeros(BATCH))


@eager_and_compiled
@ordinary_or_extreme
def test_gradients_are_finite(name, regime, compiled):
    out = results(name, regime, compiled)
    for key in ("dlogp", "dentropy", "dkl", "dkl_other", "dkl_self"):
        assert np.isfinite(out[key]).all(), key


def finite_difference(f, flat):
    """Central differences of f: [B, p] -> [B] in float64.

    Step 1e-5 leaves 1e-10 of truncation and 1e-10 of rounding.
    """
    gradient = np.empty(flat.shape)
    for i in range(flat.shape[1]):
        step = np.zeros(flat.shape[1])
        step[i] = 1e-5
        gradient[:, i] = (f(flat + step) - f(flat - step)) / 2e-5
    return gradient


@eager_and_compiled
def test_gradients_agree_with_finite_differences(name, compiled):
    flat, other, x = inputs(name, "ordinary")
    ref, out = reference_of(SPACES[name]), results(name, "ordinary", compiled)
    flat, other = flat.astype(np.float64), other.astype(np.float64)
    expected = {
        "dlogp": finite_difference(lambda p: ref.logp(p, x), flat),
        "dentropy": finite_difference(ref.entropy, flat),
        "dkl": finite_difference(lambda p: ref.kl(p, other), flat),
        "dkl_other": finite_difference(lambda q: ref.kl(flat, q), other),
    }
    for key, gradient in expected.items():
        # a product of some ten float32 factors, three of them exponentials with errors of 8 ulp: 40 ulp, 5e-6, of the
        # largest entry; twice that for sums
        np.testing.assert_allclose(
            out[key], gradient, rtol=1e-5, atol=1e-5 * max(1, np.abs(gradient).max()), err_msg=key
        )


def every_action(space):
    if isinstance(space, gym.spaces.Discrete):
        return np.arange(space.start, space.start + space.n)
    if isinstance(space, gym.spaces.MultiBinary):
        nvec, start = np.full(int(np.prod(space.shape)), 2), 0
    else:
        nvec, start = space.nvec.ravel(), space.start.ravel()
    return (np.array(list(itertools.product(*map(range, nvec)))) + start).reshape(-1, *space.shape)


def log_probabilities(space, flat):
    """Return log p of every action, [actions, BATCH]."""
    pd = make_pdtype(space).pdfromflat(flat)
    return np.stack(
        [
            pd.logp(tf.constant(np.broadcast_to(action, (BATCH, *space.shape)), tf.int32)).numpy()
            for action in every_action(space)
        ]
    )


@every_discrete_space
def test_probabilities_of_all_actions_sum_to_one(name):
    flat, _, _ = inputs(name, "ordinary")
    # each of at most 48 probabilities has a relative error of 32 ulp of its logits (`assert_rounding`); they sum to 1
    np.testing.assert_allclose(
        np.exp(log_probabilities(SPACES[name], flat).astype(np.float64)).sum(axis=0), 1, atol=32 * EPS * 30
    )


@every_discrete_space
def test_mode_is_the_most_likely_action(name):
    space, (flat, _, _) = SPACES[name], inputs(name, "ordinary")
    logp = log_probabilities(space, flat)
    lead = np.sort(logp, axis=0)
    assert (lead[-1] - lead[-2]).min() > 1e-3  # the error of logp is smaller: 32 ulp of 30, as above
    best = every_action(space)[np.argmax(logp, axis=0)]
    for compiled in {False, name in COMPILED}:
        np.testing.assert_array_equal(results(name, "ordinary", compiled)["mode"], best)


@pytest.mark.parametrize("name", [name for name in SPACES if name.startswith("box")])
def test_mode_of_a_gaussian_is_its_mean(name):
    flat, _, _ = inputs(name, "ordinary")
    mean = flat[:, : flat.shape[1] // 2].reshape(BATCH, *SPACES[name].shape)
    np.testing.assert_array_equal(results(name, "ordinary", False)["mode"], mean)
    np.testing.assert_array_equal(make_pdtype(SPACES[name]).mode(NumpyOperators, flat[:, : flat.shape[1] // 2]), mean)


@pytest.mark.parametrize("compiled", [False, True])
def test_gaussian_logp_two_ulp_from_the_mean_at_log_std_minus_20_equals_scipy(compiled):
    mean = np.float32(0.7)
    x = np.nextafter(np.nextafter(mean, np.float32(1)), np.float32(1))
    expected = scipy.stats.norm.logpdf(np.float64(x), np.float64(mean), np.exp(-20.0))
    assert expected == pytest.approx(-1653.4, abs=0.1)  # tfd.Normal has an error of 500

    def logp(flat, x):
        return make_pdtype(gym.spaces.Box(-1, 1, (1,))).pdfromflat(flat).logp(x)

    logp = tf.function(logp, jit_compile=True) if compiled else logp
    actual = logp(tf.constant([[mean, -20.0]], tf.float32), tf.constant([[x]])).numpy()[0]
    # x - mean is exact; the error of exp(20) is up to 7 ulp, that of z squared twice as large
    assert actual == pytest.approx(expected, rel=16 * EPS)


@every_space
def test_monte_carlo_estimates_entropy_and_kl(name):
    """E_p[-log p] and E_p[log p - log q] over 20,000 samples: within 5 standard errors."""
    pdtype, rng, count = make_pdtype(SPACES[name]), np.random.default_rng(11), 20_000
    flat, other, _ = inputs(name, "ordinary")
    x = pdtype.sample(NumpyOperators, np.broadcast_to(flat[0], (count, flat.shape[1])), pdtype.noise(rng, (count,)))
    p, q = (pdtype.pdfromflat(np.broadcast_to(params[0], (count, flat.shape[1]))) for params in (flat, other))
    logp, logq = p.logp(x).numpy().astype(np.float64), q.logp(x).numpy()
    out = results(name, "ordinary", False)
    for estimate, value in ((-logp, out["entropy"][0]), (logp - logq, out["kl"][0])):
        assert abs(estimate.mean() - value) < 5 * estimate.std() / np.sqrt(count)


def operations(space):
    """Count the operations of a graph of everything that an update computes from a distribution."""
    pdtype = make_pdtype(space)

    def everything(flat, x, noise):
        with tf.GradientTape() as tape:
            tape.watch(flat)
            p = pdtype.pdfromflat(flat)
            total = p.logp(x) + p.entropy() + p.kl(pdtype.pdfromflat(tf.stop_gradient(flat)))
        return total, tape.gradient(total, flat), p.mode(), p.sample(noise)

    flat = np.zeros((3, *pdtype.param_shape()), np.float32)
    return len(
        tf.function(everything)
        .get_concrete_function(flat, pdtype.mode(NumpyOperators, flat), flat)
        .graph.get_operations()
    )


def test_the_graph_of_a_hundred_factors_is_as_small_as_that_of_three():
    """With one tensor per factor, XLA took minutes to compile a hundred categoricals."""
    assert operations(gym.spaces.MultiDiscrete([3] * 100)) == operations(gym.spaces.MultiDiscrete([3] * 3))
    assert operations(gym.spaces.MultiDiscrete([2, 300, 3, 200] * 50)) == operations(
        gym.spaces.MultiDiscrete([2, 300, 3, 200])
    )


def test_factors_of_very_different_sizes_need_little_padding():
    pdtype = make_pdtype(gym.spaces.MultiDiscrete([2] * 9_000 + [10**6]))
    assert sum(block.index.size for block in pdtype.blocks) == sum(pdtype.sizes)
