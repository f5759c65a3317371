"""Distributions of Dict and Tuple are products: sums over the leaves, by SciPy, eagerly and compiled with XLA; Boxes of integers."""

import copy
import functools
import pickle

import gymnasium as gym
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from distribution_references import reference_of

from common.distributions import NumpyOperators, TensorFlowOperators, make_pdtype

EPS = float(np.finfo(np.float32).eps)
BATCH = 8
INTEGERS = gym.spaces.Box(np.array([-3, 0]), np.array([1, 2]), dtype=np.int16)
# the same choices and numbers as INTEGERS has
AS_FACTORS = gym.spaces.MultiDiscrete([5, 3], start=[-3, 0])
LEAVES = {
    "box": gym.spaces.Box(-1, 1, ()),
    "bits": gym.spaces.MultiBinary(3),
    "arm": gym.spaces.Discrete(3, start=-1),
    "matrix": gym.spaces.Box(-np.inf, np.inf, (2, 2)),
    "factors": gym.spaces.MultiDiscrete([2, 9], start=[4, -1]),
    "integers": INTEGERS,
}
SPACES = {
    "parametrised": gym.spaces.Dict(choice=LEAVES["arm"], amount=LEAVES["matrix"]),
    "nested": gym.spaces.Tuple(
        [
            LEAVES["box"],
            gym.spaces.Dict(
                {
                    "bits": LEAVES["bits"],
                    "inner": gym.spaces.Tuple([LEAVES["arm"], LEAVES["matrix"], LEAVES["factors"]]),
                }
            ),
            gym.spaces.Dict(),
            INTEGERS,
        ]
    ),
    "choices": gym.spaces.Tuple([LEAVES["arm"], LEAVES["arm"], LEAVES["bits"]]),
    "one": gym.spaces.Dict(only=LEAVES["box"]),
    "integers": INTEGERS,
}
ORDER = {
    "parametrised": ["choice", "amount"],
    "nested": ["box", "bits", "arm", "matrix", "factors", "integers"],
    "choices": ["arm", "arm", "bits"],
    "one": ["box"],
    "integers": ["integers"],
}
every_space = pytest.mark.parametrize("name", SPACES)
every_product = pytest.mark.parametrize("name", [name for name in SPACES if name != "integers"])


def leaves_of(name):
    return [{"choice": LEAVES["arm"], "amount": LEAVES["matrix"], **LEAVES}[leaf] for leaf in ORDER[name]]


def split(leaves, x, size_of):
    return np.split(x, np.cumsum([size_of(leaf) for leaf in leaves])[:-1], axis=-1)


def num_parameters(leaf):
    return {"Box": 8 if leaf is INTEGERS else 2 * int(np.prod(leaf.shape)), "MultiBinary": 3, "Discrete": 3}.get(
        type(leaf).__name__, 11
    )


def num_entries(leaf):
    return int(np.prod(leaf.shape))


def num_choices(leaf):
    return {"Box": 8 if leaf is INTEGERS else 0, "MultiBinary": 6}.get(type(leaf).__name__, num_parameters(leaf))


class SumReference:
    """Sums of the leaves' references in float64, each at its part of the parameters and of the action."""

    def __init__(self, name):
        self.leaves = leaves_of(name)
        self.references = [reference_of(AS_FACTORS if leaf is INTEGERS else leaf) for leaf in self.leaves]

    def parts(self, flat):
        return split(self.leaves, np.float64(flat), num_parameters)

    def logp(self, flat, x):
        actions = split(self.leaves, x.reshape(len(x), -1), num_entries)
        actions = [part if leaf.dtype.kind == "f" else part.astype(int) for leaf, part in zip(self.leaves, actions)]
        return sum(ref.logp(part, action) for ref, part, action in zip(self.references, self.parts(flat), actions))

    def entropy(self, flat):
        return sum(ref.entropy(part) for ref, part in zip(self.references, self.parts(flat)))

    def kl(self, flat, other):
        return sum(ref.kl(p, q) for ref, p, q in zip(self.references, self.parts(flat), self.parts(other)))


def inputs(name, batch=(BATCH,)):
    rng, pdtype = np.random.default_rng(7), make_pdtype(SPACES[name])
    flat, other = rng.normal(0, 0.7, (2, *batch, *pdtype.param_shape())).astype(np.float32)
    return pdtype, flat, other, pdtype.noise(rng, batch)


@functools.cache
def results(name, compiled):
    pdtype, flat, other, noise = inputs(name)
    x = pdtype.sample(NumpyOperators, other, noise)

    def evaluate(flat, other, x, noise):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(flat)
            p, q = pdtype.pdfromflat(flat), pdtype.pdfromflat(other)
            values = {"logp": p.logp(x), "entropy": p.entropy(), "kl": p.kl(q), "kl_self": p.kl(p)}
        grads = {f"d{key}": tape.gradient(value, flat) for key, value in values.items()}
        return values | grads | {"mode": p.mode(), "sample": p.sample(noise)}

    function = tf.function(evaluate, jit_compile=True) if compiled else evaluate
    return x, {key: v.numpy() for key, v in function(*map(tf.constant, (flat, other, x, noise))).items()}


@every_space
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_values_and_gradients_are_sums_over_the_leaves(name, compiled):
    pdtype, flat, other, _ = inputs(name)
    x, out = results(name, compiled)
    ref = SumReference(name)
    expected = {"logp": ref.logp(flat, x), "entropy": ref.entropy(flat), "kl": ref.kl(flat, other)}
    # as in test_distributions: a few ulp of each of at most 16 terms and of the parameters
    scale = 16 + np.abs(flat).sum(axis=1) + np.abs(other).sum(axis=1)
    for key, value in expected.items():
        np.testing.assert_array_less(np.abs(out[key] - value), 32 * EPS * (np.abs(value) + scale), err_msg=key)
    np.testing.assert_array_equal(out["kl_self"], np.zeros(BATCH))
    functions = {"dlogp": lambda p: ref.logp(p, x), "dentropy": ref.entropy, "dkl": lambda p: ref.kl(p, other)}
    for key, function in functions.items():
        steps = 1e-5 * np.eye(flat.shape[1])
        gradient = np.stack(
            [(function(np.float64(flat) + step) - function(np.float64(flat) - step)) / 2e-5 for step in steps], axis=1
        )
        atol = 1e-5 * max(1, np.abs(gradient).max())
        np.testing.assert_allclose(out[key], gradient, rtol=1e-5, atol=atol, err_msg=key)


@every_product
def test_modes_and_samples_are_those_of_the_leaves(name):
    pdtype, flat, other, noise = inputs(name)
    leaves = leaves_of(name)
    params, noises = (
        split(leaves, flat, num_parameters),
        split(
            leaves,
            noise,
            lambda leaf: num_entries(leaf) if leaf.dtype.kind == "f" or "Binary" in str(leaf) else num_parameters(leaf),
        ),
    )
    modes = [make_pdtype(leaf).mode(NumpyOperators, p) for leaf, p in zip(leaves, params)]
    samples = [make_pdtype(leaf).sample(NumpyOperators, p, n) for leaf, p, n in zip(leaves, params, noises)]
    for parts, actual in (
        (modes, pdtype.mode(NumpyOperators, flat)),
        (samples, pdtype.sample(NumpyOperators, flat, noise)),
    ):
        assert actual.dtype == np.float64 == pdtype.sample_dtype().as_numpy_dtype
        np.testing.assert_array_equal(actual, np.concatenate([np.reshape(x, (BATCH, -1)) for x in parts], axis=1))
    for compiled in (False, True):
        _, out = results(name, compiled)
        assert out["mode"].dtype == out["sample"].dtype == np.float64
        np.testing.assert_array_equal(out["mode"], pdtype.mode(NumpyOperators, flat))
        # the standard deviations' exponentials differ by a few ulp
        np.testing.assert_allclose(out["sample"], pdtype.sample(NumpyOperators, flat, noise), rtol=0, atol=64 * EPS)


@every_space
@pytest.mark.parametrize("batch", [(), (1,), (2, 3)])
def test_results_have_the_shapes_of_the_batch(name, batch):
    pdtype, flat, other, noise = inputs(name, batch)
    pd = pdtype.pdfromflat(flat)
    shape = tuple(pdtype.sample_shape())
    assert shape == ((sum(map(num_entries, leaves_of(name))),) if name != "integers" else (2,))
    for x in (pdtype.sample(NumpyOperators, flat, noise), pdtype.mode(NumpyOperators, flat), pd.sample().numpy()):
        assert x.shape == (*batch, *shape) and pd.logp(x).shape == batch
    assert pd.entropy().shape == pd.kl(pdtype.pdfromflat(other)).shape == batch


@every_space
def test_monte_carlo_estimates_entropy_and_kl(name):
    """E_p[-log p] and E_p[log p - log q] over 20,000 samples of TensorFlow's generator: within 5 standard errors."""
    pdtype, flat, other, _ = inputs(name)
    tf.random.set_seed(3)
    p, q = (pdtype.pdfromflat(np.repeat(params[:1], 20_000, axis=0)) for params in (flat, other))
    x = p.sample()
    logp, logq = (pd.logp(x).numpy().astype(np.float64) for pd in (p, q))
    for estimate, value in ((-logp, p.entropy()), (logp - logq, p.kl(q))):
        assert abs(estimate.mean() - value.numpy()[0]) < 5 * estimate.std() / np.sqrt(len(estimate))


@every_product
def test_masks_are_the_leaves_masks_concatenated(name):
    pdtype, flat, _, _ = inputs(name)
    leaves = leaves_of(name)
    assert pdtype.num_choices() == sum(map(num_choices, leaves))
    mask = np.random.default_rng(2).random((BATCH, pdtype.num_choices())) < 0.6
    parts = zip(leaves, split(leaves, flat, num_parameters), split(leaves, mask, num_choices))
    expected = np.concatenate([make_pdtype(leaf).mask_flat(NumpyOperators, p, m) for leaf, p, m in parts], axis=1)
    np.testing.assert_array_equal(pdtype.mask_flat(NumpyOperators, flat, mask), expected)
    by_tf = pdtype.mask_flat(TensorFlowOperators, tf.constant(flat), tf.constant(mask.astype(np.uint8)))
    np.testing.assert_array_equal(by_tf, expected)


@pytest.mark.parametrize("ops", [NumpyOperators, TensorFlowOperators])
@pytest.mark.parametrize("name", SPACES)
def test_log_standard_deviations_are_found_and_joined(name, ops):
    pdtype, flat, _, _ = inputs(name)
    columns, offset = [], 0
    for leaf in leaves_of(name):
        if leaf.dtype.kind == "f":
            columns += range(offset + num_entries(leaf), offset + 2 * num_entries(leaf))
        offset += num_parameters(leaf)
    np.testing.assert_array_equal(pdtype.logstd_indices(), columns)
    assert pdtype.logstd_indices().dtype == np.int32
    logstd = np.arange(len(columns), dtype=np.float32)
    for params in (flat, flat[0]):
        joined = np.asarray(pdtype.join_logstd(ops, np.delete(params, columns, axis=-1), logstd))
        np.testing.assert_array_equal(joined[..., columns], np.broadcast_to(logstd, (*params.shape[:-1], len(columns))))
        np.testing.assert_array_equal(np.delete(joined, columns, axis=-1), np.delete(params, columns, axis=-1))


def test_a_gaussians_parameters_are_its_means_and_its_log_standard_deviations():
    pdtype = make_pdtype(gym.spaces.Box(-1, 1, (2,)))
    joined = pdtype.join_logstd(NumpyOperators, np.float32([[1, 2], [3, 4]]), np.float32([-1, -2]))
    np.testing.assert_array_equal(joined, [[1, 2, -1, -2], [3, 4, -1, -2]])


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_distributions_can_be_copied(clone):
    pdtype, flat, other, noise = inputs("nested")
    pd = clone(pdtype.pdfromflat(flat))
    np.testing.assert_array_equal(pd.sample(noise), pdtype.pdfromflat(flat).sample(noise))


def test_the_graph_does_not_grow_with_the_number_of_leaves():
    """With one tensor per leaf, XLA took minutes to compile a hundred categoricals."""

    def operations(count):
        pdtype = make_pdtype(gym.spaces.Tuple([LEAVES["arm"], LEAVES["box"], LEAVES["bits"]] * count))
        function = tf.function(lambda flat, x: (pdtype.pdfromflat(flat).logp(x), pdtype.pdfromflat(flat).sample()))
        arrays = np.zeros((2, *pdtype.param_shape()), np.float32), np.zeros((2, *pdtype.sample_shape()))
        return len(function.get_concrete_function(*arrays).graph.get_operations())

    assert operations(2) == operations(30)


def test_integers_are_sampled_with_the_frequencies_of_the_softmax():
    pdtype, flat, _, _ = inputs("integers")
    noise = pdtype.noise(np.random.default_rng(9), (40_000,))
    x = pdtype.sample(NumpyOperators, np.broadcast_to(flat[0], (40_000, 8)), noise)
    assert x.dtype == np.int32 and pdtype.sample_shape() == [2]
    joint = np.outer(*(scipy.special.softmax(np.float64(part)) for part in (flat[0, :5], flat[0, 5:]))).ravel()
    counts = np.bincount((x[:, 0] + 3) * 3 + x[:, 1], minlength=15)
    assert scipy.stats.chisquare(counts, joint * len(x)).pvalue > 1e-4
