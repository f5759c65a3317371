"""Sampling, shapes and refused spaces: NumPy and TensorFlow draw the same actions, with the right frequencies."""

import gymnasium as gym
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from common.distributions import NumpyOperators, TensorFlowOperators, make_pdtype
from common.errors import UserError

SPACES = {
    "box": gym.spaces.Box(-1, 1, (3,)),
    "box_rank_0": gym.spaces.Box(-1, 1, ()),
    "box_matrix_unbounded": gym.spaces.Box(-np.inf, np.inf, (2, 2)),
    "discrete_start": gym.spaces.Discrete(4, start=-2),
    "multidiscrete": gym.spaces.MultiDiscrete([2, 3, 4]),
    "multidiscrete_matrix_start": gym.spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[1, -1], [0, 5]]),
    "multidiscrete_small_and_large": gym.spaces.MultiDiscrete([9, 2, 12, 1], start=[0, 3, 0, -2]),
    "multibinary_matrix": gym.spaces.MultiBinary([2, 2]),
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
EPS = float(np.finfo(np.float32).eps)
# all draws are seeded: the p-value of a correct sampler is below this for one seed in 10,000, and not for this seed
P_VALUE = 1e-4


def drawn(space, batch, seed=3):
    rng, pdtype = np.random.default_rng(seed), make_pdtype(space)
    flat = rng.normal(0, 1, (*batch, *pdtype.param_shape())).astype(np.float32)
    return pdtype, flat, pdtype.noise(rng, batch)


@every_space
@pytest.mark.parametrize("compiled", [False, True])
def test_numpy_and_tensorflow_sample_the_same_action_from_the_same_noise(space, compiled):
    pdtype, flat, noise = drawn(space, (256,))

    def draw(flat, noise):
        return pdtype.pdfromflat(flat).sample(noise)

    by_tf = (tf.function(draw, jit_compile=True) if compiled else draw)(tf.constant(flat), tf.constant(noise)).numpy()
    by_np = pdtype.sample(NumpyOperators, flat, noise)
    assert by_tf.shape == by_np.shape and by_tf.dtype == by_np.dtype == pdtype.sample_dtype().as_numpy_dtype
    if by_np.dtype == np.float32:
        # exp differs by a few ulp and is multiplied by noise: 8 ulp of a term that may cancel with the mean
        np.testing.assert_allclose(
            by_tf, by_np, atol=8 * EPS * float(np.abs(flat).max() + np.exp(flat.max()) * np.abs(noise).max())
        )
    else:
        # one addition and a comparison: IEEE arithmetic determines every bit
        np.testing.assert_array_equal(by_tf, by_np)


@every_space
@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3)])
def test_results_have_the_shapes_of_batch_and_space(space, batch):
    pdtype, flat, noise = drawn(space, batch)
    pd = pdtype.pdfromflat(flat)
    for action in (
        pdtype.sample(NumpyOperators, flat, noise),
        pdtype.mode(NumpyOperators, flat),
        pd.sample().numpy(),
        pd.mode().numpy(),
    ):
        assert np.shape(action) == (*batch, *space.shape)
        assert pd.logp(action).shape == batch
    assert pd.entropy().shape == pd.kl(pd).shape == batch
    assert tuple(pdtype.sample_shape()) == space.shape


@every_space
def test_samples_and_modes_lie_in_the_space(space):
    pdtype, flat, noise = drawn(space, (200,))
    for action in (
        *pdtype.sample(NumpyOperators, flat, noise),
        *pdtype.mode(TensorFlowOperators, tf.constant(flat)).numpy(),
    ):
        unbounded = gym.spaces.Box(-np.inf, np.inf, space.shape) if isinstance(space, gym.spaces.Box) else space
        assert np.asarray(action, unbounded.dtype) in unbounded


@every_space
def test_noise_is_float32_and_determined_by_its_generator(space):
    pdtype = make_pdtype(space)
    first, second, other = (pdtype.noise(np.random.default_rng(seed), (7, 2)) for seed in (1, 1, 2))
    assert first.dtype == np.float32 and first.shape[:2] == (7, 2)
    np.testing.assert_array_equal(first, second)
    assert (first != other).all()


def test_gaussian_samples_are_normal():
    pdtype, (mean, logstd), rng = make_pdtype(gym.spaces.Box(-1, 1, (1,))), (0.5, -0.7), np.random.default_rng(5)
    x = pdtype.sample(NumpyOperators, np.float32([[mean, logstd]]), pdtype.noise(rng, (20_000,)))[:, 0]
    assert scipy.stats.kstest(x.astype(np.float64), scipy.stats.norm(mean, np.exp(logstd)).cdf).pvalue > P_VALUE


def test_gaussian_entries_are_independent():
    pdtype, rng, count = make_pdtype(gym.spaces.Box(-1, 1, (2, 2))), np.random.default_rng(5), 20_000
    x = pdtype.sample(NumpyOperators, np.zeros((count, 8), np.float32), pdtype.noise(rng, (count,))).reshape(count, 4)
    correlation = np.corrcoef(x.T) - np.eye(4)
    assert np.abs(correlation).max() < 4 / np.sqrt(count)  # 4 standard errors of a correlation of 0


def frequencies_fit(column, probabilities, start):
    counts = np.bincount(column - start, minlength=len(probabilities))
    return scipy.stats.chisquare(counts, probabilities * len(column)).pvalue > P_VALUE


def test_discrete_samples_have_the_frequencies_of_the_softmax():
    space, rng, logits = gym.spaces.Discrete(4, start=-2), np.random.default_rng(9), np.float32([0.0, 1.0, -2.0, 0.5])
    pdtype = make_pdtype(space)
    x = pdtype.sample(NumpyOperators, logits, pdtype.noise(rng, (40_000,)))
    assert frequencies_fit(x, scipy.special.softmax(np.float64(logits)), -2)


def test_multidiscrete_samples_have_the_joint_frequencies_of_a_product():
    space, rng = gym.spaces.MultiDiscrete([2, 3], start=[1, -1]), np.random.default_rng(9)
    pdtype, logits = make_pdtype(space), np.float32([0.3, -0.4, 1.0, 0.0, -1.0])
    x = pdtype.sample(NumpyOperators, logits, pdtype.noise(rng, (40_000,)))
    joint = np.outer(
        scipy.special.softmax(np.float64(logits[:2])), scipy.special.softmax(np.float64(logits[2:]))
    ).ravel()
    assert frequencies_fit((x[:, 0] - 1) * 3 + x[:, 1] + 1, joint, 0)


def test_multibinary_samples_have_the_joint_frequencies_of_sigmoids():
    space, rng = gym.spaces.MultiBinary(2), np.random.default_rng(9)
    pdtype, logits = make_pdtype(space), np.float32([-1.0, 0.4])
    x = pdtype.sample(NumpyOperators, logits, pdtype.noise(rng, (40_000,)))
    on = scipy.special.expit(np.float64(logits))
    joint = np.outer([1 - on[0], on[0]], [1 - on[1], on[1]]).ravel()
    assert frequencies_fit(x[:, 0] * 2 + x[:, 1], joint, 0)


@pytest.mark.parametrize(
    "space", [gym.spaces.Discrete(3), gym.spaces.MultiDiscrete([3, 3]), gym.spaces.MultiBinary(3)], ids=str
)
def test_samples_at_extreme_logits_are_the_most_likely_action(space):
    pdtype = make_pdtype(space)
    signs = np.resize([-1, 1, -1], pdtype.param_shape())
    x = pdtype.sample(NumpyOperators, np.float32(50 * signs), pdtype.noise(np.random.default_rng(1), (1000,)))
    # the other actions have probability exp(-50) or less
    np.testing.assert_array_equal(x, np.broadcast_to(pdtype.mode(NumpyOperators, np.float32(signs)), x.shape))


def test_sample_without_noise_draws_new_noise():
    pd = make_pdtype(gym.spaces.Box(-1, 1, (3,))).pdfromflat(np.zeros((4, 6), np.float32))
    assert (pd.sample().numpy() != pd.sample().numpy()).all()


def test_a_compiled_function_draws_new_noise_at_every_call():
    pdtype = make_pdtype(gym.spaces.Box(-1, 1, (3,)))
    draw = tf.function(lambda flat: pdtype.pdfromflat(flat).sample())
    assert (draw(tf.zeros((4, 6))).numpy() != draw(tf.zeros((4, 6))).numpy()).all()


BOX = gym.spaces.Box(-1, 1, (2,))
REFUSED = {
    "Text": (gym.spaces.Text(5), "is not supported; use Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple"),
    "Sequence": (gym.spaces.Sequence(BOX), "is not supported; use "),
    "Graph": (gym.spaces.Graph(BOX, None), "is not supported; use "),
    "part": (
        gym.spaces.Dict(a=BOX, b=gym.spaces.Tuple([BOX, gym.spaces.Text(5)])),
        r"the part \['b'\]\[1\], is not supp",
    ),
    "Box (0,)": (gym.spaces.Box(-1, 1, (0,)), "needs at least one"),
    "Box (2, 0)": (gym.spaces.Box(-1, 1, (2, 0)), "needs at least one"),
    "empty part": (gym.spaces.Dict(a=gym.spaces.Box(-1, 1, (0,)), b=BOX), r"the part \['a'\], has no entries"),
    "Dict()": (gym.spaces.Dict(), "has no entries; an action needs at least one"),
    "Tuple([Dict()])": (gym.spaces.Tuple([gym.spaces.Dict()]), "has no entries; an action needs at least one"),
    "unbounded": (
        gym.spaces.Box(-np.inf, np.inf, (2,), np.int64),
        "18,446,744,073,709,551,616 choices per entry.* use",
    ),
    "half bounded": (gym.spaces.Box(0, np.inf, (2,), np.int32), "2,147,483,648 choices per entry.*at most 1,024.* use"),
    "wide": (
        gym.spaces.Box(np.zeros((2, 2), int), np.array([[9, 9], [9, 1024]]), dtype=np.int16),
        "1,025 choices per entry.*at most 1,024 .*: use narrower bounds, or a Box of float32",
    ),
    "many": (gym.spaces.Box(0, 1, (10_001,), np.uint8), "10,001 parts; at most 10,000"),
    "many choices": (gym.spaces.Box(0, 1023, (1000,), np.int16), "1,024,000 choices together.* use"),
    "far": (gym.spaces.Box(2**31, 2**31 + 5, (2,), np.int64), "beyond 32 bits"),
    "many parts": (gym.spaces.Tuple([gym.spaces.MultiDiscrete([2] * 6000)] * 2), "12,000 parts; at most 10,000"),
}


@pytest.mark.parametrize(("space", "expected"), REFUSED.values(), ids=REFUSED)
def test_other_spaces_are_refused_in_one_line(space, expected):
    with pytest.raises(UserError, match=expected) as error:
        make_pdtype(space)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Box(0, 255, (2,), np.uint8),
        gym.spaces.Box(-3, 2, (), np.int64),
        gym.spaces.Box(2**31 - 6, 2**31 - 1, (2,), np.uint64),
        gym.spaces.Box(0, 1, (2,), np.bool_),
        gym.spaces.Box(np.arange(4).reshape(2, 2), 9 + np.arange(4).reshape(2, 2), dtype=np.int32),
        gym.spaces.Dict(a=gym.spaces.Box(np.arange(4.0).reshape(2, 2), np.full((2, 2), 9.0), dtype=np.float64)),
    ],
    ids=lambda space: " ".join(str(space).split()),
)
def test_boxes_of_integers_and_dicts_are_accepted(space):
    pdtype, flat, noise = drawn(space, (5,))
    assert pdtype.sample(NumpyOperators, flat, noise).shape[0] == 5


def test_multidiscrete_without_entries_is_refused():
    with pytest.raises(UserError):
        make_pdtype(gym.spaces.MultiDiscrete([]))
