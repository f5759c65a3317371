"""Masked distributions equal distributions over the valid choices alone, by SciPy and by hand; eagerly and compiled with XLA."""

import functools

import gymnasium as gym
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from distribution_references import reference_of

from common.distributions import NumpyOperators, TensorFlowOperators, make_pdtype
from common.optim.fisher_product import fisher_product

EPS = float(np.finfo(np.float32).eps)
BATCH = 24
SPACES = {
    "discrete": gym.spaces.Discrete(5, start=-2),
    "multidiscrete": gym.spaces.MultiDiscrete([[2, 3], [9, 2]], start=[[1, -1], [0, 5]]),
    "multibinary": gym.spaces.MultiBinary([2, 2]),
    "integers": gym.spaces.Box(np.array([0, -2]), np.array([3, 9]), dtype=np.int16),
}
every_space = pytest.mark.parametrize("name", SPACES)
# integers are compiled as a MultiDiscrete is
eager_and_compiled = pytest.mark.parametrize(
    ("name", "compiled"), [(name, False) for name in SPACES] + [(name, True) for name in SPACES if name != "integers"]
)


def factor_sizes(space):
    """Return the number of choices of each factor; a bit is a factor with the choices 0 and 1."""
    if isinstance(space, gym.spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, gym.spaces.MultiBinary):
        return [2] * int(np.prod(space.shape))
    if isinstance(space, gym.spaces.Box):
        return (np.ravel(space.high).astype(int) - np.ravel(space.low) + 1).tolist()
    return np.ravel(space.nvec).tolist()


def starts(space):
    if isinstance(space, gym.spaces.MultiBinary):
        return np.zeros(int(np.prod(space.shape)), int)
    return np.ravel(space.low if isinstance(space, gym.spaces.Box) else space.start)


def random_masks(space, rng):
    """Return masks [BATCH, choices] with at least one valid choice per factor; in the first row only one is valid."""
    parts = []
    for n in factor_sizes(space):
        mask = rng.random((BATCH, n)) < 0.5
        mask[0] = False
        mask[np.arange(BATCH), rng.integers(n, size=BATCH)] = True
        parts.append(mask)
    return np.concatenate(parts, axis=1)


def logits_by_factor(space, flat):
    """Return the logits [BATCH, n] of each factor, in float64; those of a bit with logit l are 0 and l."""
    flat = np.asarray(flat, np.float64)
    if isinstance(space, gym.spaces.MultiBinary):
        return [np.stack([np.zeros(len(flat)), column], axis=1) for column in flat.T]
    return np.split(flat, np.cumsum(factor_sizes(space))[:-1], axis=1)


class ValidSupport:
    """Log probabilities, entropy and KL of each row over its valid choices, which are picked out before the softmax."""

    def __init__(self, space, mask):
        self.space = space
        self.masks = np.split(mask, np.cumsum(factor_sizes(space))[:-1], axis=1)

    def sum_factors(self, function, *flats):
        total = np.zeros(BATCH)
        for i, mask in enumerate(self.masks):
            logits = [logits_by_factor(self.space, flat)[i] for flat in flats]
            for row in range(BATCH):
                total[row] += function(i, row, mask[row], *(x[row][mask[row]] for x in logits))
        return total

    def logp(self, flat, x):
        columns = x.reshape(BATCH, -1) - starts(self.space)

        def logp(i, row, mask, logits):
            return scipy.special.log_softmax(logits)[np.flatnonzero(mask).tolist().index(columns[row, i])]

        return self.sum_factors(logp, flat)

    def entropy(self, flat):
        return self.sum_factors(lambda i, row, mask, p: scipy.special.entr(scipy.special.softmax(p)).sum(), flat)

    def kl(self, flat, other):
        def kl(i, row, mask, p, q):
            return scipy.special.rel_entr(scipy.special.softmax(p), scipy.special.softmax(q)).sum()

        return self.sum_factors(kl, flat, other)


def inputs(name, seed=3):
    """Return (pdtype, parameters of p and q, masks, valid actions)."""
    rng, pdtype = np.random.default_rng(seed), make_pdtype(SPACES[name])
    flat, other = rng.normal(0, 2, (2, BATCH, *pdtype.param_shape())).astype(np.float32)
    mask = random_masks(pdtype.space, rng)
    x = pdtype.sample(NumpyOperators, pdtype.mask_flat(NumpyOperators, other, mask), pdtype.noise(rng, (BATCH,)))
    return pdtype, flat, other, mask, x


@functools.cache
def results(name, compiled):
    pdtype, *arrays = inputs(name)

    def evaluate(flat, other, mask, x):
        out = {}
        with tf.GradientTape(persistent=True) as tape:
            tape.watch((flat, other))
            p, q = (pdtype.pdfromflat(pdtype.mask_flat(TensorFlowOperators, f, mask)) for f in (flat, other))
            values = {"logp": p.logp(x), "entropy": p.entropy(), "kl": p.kl(q), "kl_self": p.kl(p)}
        for key, value in values.items():
            out |= {key: value, f"d{key}": tape.gradient(value, flat)}
        return out | {"dkl_other": tape.gradient(values["kl"], other), "mode": p.mode()}

    function = tf.function(evaluate, jit_compile=True) if compiled else evaluate
    return {key: value.numpy() for key, value in function(*map(tf.constant, arrays)).items()}


@eager_and_compiled
def test_values_are_those_of_the_valid_support(name, compiled):
    pdtype, flat, other, mask, x = inputs(name)
    support, out = ValidSupport(pdtype.space, mask), results(name, compiled)
    expected = {"logp": support.logp(flat, x), "entropy": support.entropy(flat), "kl": support.kl(flat, other)}
    # as in test_distributions: a few ulp of each of at most 8 terms and of their logits
    scale = 8 + np.abs(flat).sum(axis=1) + np.abs(other).sum(axis=1)
    for key, value in expected.items():
        np.testing.assert_array_less(np.abs(out[key] - value), 32 * EPS * (np.abs(value) + scale), err_msg=key)
    np.testing.assert_array_equal(out["kl_self"], np.zeros(BATCH))
    # a single valid choice is certain: exactly, because the probability of the others is 0
    np.testing.assert_array_equal([out["logp"][0], out["entropy"][0], out["kl"][0]], np.zeros(3))


@functools.cache
def expected_gradients(name):
    """Central differences of the values over the valid choices, in float64."""
    pdtype, flat, other, mask, x = inputs(name)
    support = ValidSupport(pdtype.space, mask)
    functions = {
        "dlogp": (lambda p: support.logp(p, x), flat),
        "dentropy": (support.entropy, flat),
        "dkl": (lambda p: support.kl(p, other), flat),
        "dkl_other": (lambda q: support.kl(flat, q), other),
        "dkl_self": (lambda p: np.zeros(BATCH), flat),
    }
    gradients = {}
    for key, (function, at) in functions.items():
        at = at.astype(np.float64)
        steps = 1e-5 * np.eye(at.shape[1])
        gradients[key] = np.stack([(function(at + step) - function(at - step)) / 2e-5 for step in steps], axis=1)
    return gradients


@eager_and_compiled
def test_gradients_to_masked_logits_are_zero_and_the_others_are_those_of_the_valid_support(name, compiled):
    mask, out = inputs(name)[3], results(name, compiled)
    free = mask[:, ::2] & mask[:, 1::2] if name == "multibinary" else mask
    for key, gradient in expected_gradients(name).items():
        assert (out[key][~free] == 0).all(), key
        # as in test_distributions
        atol = 1e-5 * max(1, np.abs(gradient).max())
        np.testing.assert_allclose(out[key], gradient, rtol=1e-5, atol=atol, err_msg=key)


def is_valid(space, mask, x):
    """Whether the actions [B, *shape] consist of valid choices, [B] bool; the masks are [B, choices]."""
    offsets = np.cumsum([0, *factor_sizes(space)[:-1]])
    columns = x.reshape(len(x), -1) - starts(space) + offsets
    return np.take_along_axis(mask, columns, axis=1).all(axis=1)


@every_space
@pytest.mark.parametrize("kind", [bool, np.uint8, np.int8], ids=["bool", "uint8", "int8"])
def test_samples_and_modes_are_valid_however_likely_invalid_choices_were(name, kind):
    pdtype, flat, _, mask, _ = inputs(name)
    rng, space = np.random.default_rng(1), pdtype.space
    unlikely = 50 * np.where(mask[:, 1::2] if name == "multibinary" else mask, -1, 1).astype(np.float32)
    for params in (flat, flat + unlikely):
        masked = pdtype.mask_flat(NumpyOperators, params, mask.astype(kind))
        assert masked.dtype == np.float32
        by_tf = pdtype.mask_flat(TensorFlowOperators, tf.constant(params), tf.constant(mask.astype(kind))).numpy()
        np.testing.assert_array_equal(masked, by_tf)
        assert is_valid(space, mask, pdtype.mode(NumpyOperators, masked)).all()
        for _ in range(50):
            assert is_valid(space, mask, pdtype.sample(NumpyOperators, masked, pdtype.noise(rng, (BATCH,)))).all()
    np.testing.assert_array_equal(
        results(name, False)["mode"], pdtype.mode(NumpyOperators, pdtype.mask_flat(NumpyOperators, flat, mask))
    )


@every_space
def test_samples_have_the_frequencies_of_the_valid_choices(name):
    pdtype, flat, _, mask, _ = inputs(name)
    rng, count, row = np.random.default_rng(5), 20_000, 1
    params = np.broadcast_to(flat[row], (count, flat.shape[1]))
    masked = pdtype.mask_flat(NumpyOperators, params, mask[row])  # one mask for all
    columns = pdtype.sample(NumpyOperators, masked, pdtype.noise(rng, (count,))).reshape(count, -1) - starts(
        pdtype.space
    )
    for i, (logits, valid) in enumerate(
        zip(logits_by_factor(pdtype.space, flat), ValidSupport(pdtype.space, mask).masks)
    ):
        counts = np.bincount(columns[:, i], minlength=valid.shape[1])
        assert counts[~valid[row]].sum() == 0
        if valid[row].sum() > 1:
            p = scipy.special.softmax(logits[row][valid[row]])
            assert scipy.stats.chisquare(counts[valid[row]], p * count).pvalue > 1e-4


@every_space
def test_a_full_mask_changes_no_bit_and_its_length_is_the_number_of_choices(name):
    pdtype, flat, _, mask, _ = inputs(name)
    assert pdtype.num_choices() == sum(factor_sizes(pdtype.space)) == mask.shape[1]
    np.testing.assert_array_equal(pdtype.mask_flat(NumpyOperators, flat, np.ones_like(mask)), flat)


@every_space
def test_rows_without_any_valid_choice_have_finite_results(name):
    """Such rows are padding, whose weight is 0."""
    pdtype, flat, _, mask, x = inputs(name)
    with tf.GradientTape(persistent=True) as tape:
        params = tf.constant(flat)
        tape.watch(params)
        p = pdtype.pdfromflat(pdtype.mask_flat(TensorFlowOperators, params, tf.zeros(mask.shape, tf.uint8)))
        values = [p.logp(x), p.entropy(), p.kl(p)]
    assert all(np.isfinite(value).all() and np.isfinite(tape.gradient(value, params)).all() for value in values)
    assert p.sample().shape == (BATCH, *pdtype.space.shape)


def test_gaussians_have_no_choices():
    pdtype, flat = make_pdtype(gym.spaces.Box(-1, 1, (3,))), np.ones((4, 6), np.float32)
    assert pdtype.num_choices() == 0
    assert pdtype.mask_flat(NumpyOperators, flat, np.ones((4, 0), bool)) is flat


def test_by_hand():
    """Logits 0, log 2, log 5 with the last masked are 1/3 and 2/3; a bit that may only be 1 costs nothing."""
    pdtype = make_pdtype(gym.spaces.Discrete(3))
    flat = pdtype.mask_flat(TensorFlowOperators, tf.math.log([[1.0, 2.0, 5.0]]), tf.constant([[True, True, False]]))
    pd = pdtype.pdfromflat(flat)
    np.testing.assert_allclose(np.exp(pd.logp([0]).numpy()), 1 / 3, rtol=4 * EPS)
    np.testing.assert_allclose(pd.entropy().numpy(), np.log(3) - 2 / 3 * np.log(2), rtol=4 * EPS)
    assert np.exp(pd.logp([2]).numpy()) == 0
    bits = make_pdtype(gym.spaces.MultiBinary(2))
    pd = bits.pdfromflat(bits.mask_flat(TensorFlowOperators, tf.constant([[-3.0, 0.0]]), tf.constant([[0, 1, 1, 1]])))
    np.testing.assert_allclose(pd.logp([[1, 0]]).numpy(), [-np.log(2)], rtol=4 * EPS)
    assert np.exp(pd.logp([[0, 0]]).numpy()) == 0


@every_space
def test_fisher_products_are_those_of_the_valid_support(name):
    """TRPO multiplies vectors with the Fisher matrix: diag(p) - p p^T in the logits of a categorical over valid choices."""
    pdtype, flat, _, mask, _ = inputs(name)
    v, w = np.random.default_rng(4).standard_normal(flat.shape).astype(np.float32), tf.Variable(flat)
    product = fisher_product(
        pdtype, lambda: pdtype.mask_flat(TensorFlowOperators, w, mask), [w], tf.ones(BATCH), tf.constant(v.ravel())
    )
    parts = zip(
        logits_by_factor(pdtype.space, flat), ValidSupport(pdtype.space, mask).masks, logits_by_factor(pdtype.space, v)
    )
    expected = []
    for logits, valid, direction in parts:
        p = scipy.special.softmax(np.where(valid, logits, -np.inf), axis=1)
        change = p * direction - p * (p * direction).sum(axis=1, keepdims=True)
        expected.append(change[:, 1:] if name == "multibinary" else change)
    np.testing.assert_allclose(
        product.numpy().reshape(flat.shape), np.concatenate(expected, axis=1), atol=64 * EPS * np.abs(v).max()
    )


def test_the_reference_without_a_mask_is_that_of_the_other_tests():
    for name in ("discrete", "multidiscrete", "multibinary"):
        pdtype, flat, other, mask, x = inputs(name)
        support, ref = ValidSupport(pdtype.space, np.ones_like(mask)), reference_of(pdtype.space)
        np.testing.assert_allclose(support.logp(flat, x), ref.logp(np.float64(flat), x), rtol=1e-12)
        np.testing.assert_allclose(support.kl(flat, other), ref.kl(np.float64(flat), np.float64(other)), rtol=1e-9)
