"""Encoding of every kind of observation, single or in a batch."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from common.errors import UserError
from common.policies.observation_encoder import ObservationEncoder

IMAGE = gym.spaces.Box(0, 255, (4, 5, 3), np.uint8)
BOX = gym.spaces.Box(-1, 1, (2,))
# name: (space, an observation, its encoding)
CASES = {
    "box": (BOX, np.float32([0.5, -1]), [0.5, -1]),
    "box_rank_0": (gym.spaces.Box(-1, 1, ()), np.float32(0.5), [0.5]),
    "box_matrix": (gym.spaces.Box(-9, 9, (2, 2)), np.float32([[1, 2], [3, 4]]), [1, 2, 3, 4]),
    "image": (IMAGE, np.arange(60, dtype=np.uint8).reshape(4, 5, 3), np.arange(60).reshape(4, 5, 3)),
    "discrete": (gym.spaces.Discrete(3), 2, [0, 0, 1]),
    "discrete_start": (gym.spaces.Discrete(3, start=-1), 0, [0, 1, 0]),
    "multibinary": (gym.spaces.MultiBinary(3), np.int8([1, 0, 1]), [1, 0, 1]),
    "multibinary_matrix": (gym.spaces.MultiBinary([2, 2]), np.int8([[1, 0], [1, 1]]), [1, 0, 1, 1]),
    "multidiscrete": (gym.spaces.MultiDiscrete([2, 3]), np.array([1, 0]), [0, 1, 1, 0, 0]),
    "multidiscrete_start": (gym.spaces.MultiDiscrete([2, 3], start=[5, -1]), np.array([6, -1]), [0, 1, 1, 0, 0]),
    "multidiscrete_matrix": (
        gym.spaces.MultiDiscrete([[2, 2], [2, 1]]),
        np.array([[1, 0], [0, 0]]),
        [0, 1, 1, 0, 1, 0, 1],
    ),
    "dict": (
        gym.spaces.Dict({"a": BOX, "b": gym.spaces.Discrete(2)}),
        {"a": np.float32([0.5, -1]), "b": 1},
        [0.5, -1, 0, 1],
    ),
    "dict_discrete_first": (
        gym.spaces.Dict({"a": gym.spaces.Discrete(2), "b": BOX}),
        {"a": 1, "b": np.float32([0.5, -1])},
        [0, 1, 0.5, -1],
    ),
    "tuple": (gym.spaces.Tuple([gym.spaces.Discrete(2), BOX]), (0, np.float32([0.5, -1])), [1, 0, 0.5, -1]),
    "nested": (
        gym.spaces.Dict({"t": gym.spaces.Tuple([gym.spaces.MultiBinary(2), gym.spaces.Dict({"x": BOX})])}),
        {"t": (np.int8([0, 1]), {"x": np.float32([0.5, -1])})},
        [0, 1, 0.5, -1],
    ),
}
every_kind = pytest.mark.parametrize("name", CASES)


@every_kind
def test_one_observation_is_encoded_as_expected(name):
    space, ob, expected = CASES[name]
    encoder = ObservationEncoder(space)
    encoded = encoder.encode(ob)
    assert encoded.shape == encoder.shape and encoded.dtype == encoder.dtype
    np.testing.assert_array_equal(encoded, expected)


@every_kind
def test_the_encoding_of_a_batch_is_the_stack_of_single_encodings(name):
    space = CASES[name][0]
    space.seed(3)
    encoder, singles = ObservationEncoder(space), [space.sample() for _ in range(3)]
    batched = gym.vector.utils.concatenate(space, singles, gym.vector.utils.create_empty_array(space, 3))
    encoded = encoder.encode_batch(batched, gym.vector.utils.batch_space(space, 3))
    assert encoded.shape == (3, *encoder.shape) and encoded.dtype == encoder.dtype
    np.testing.assert_array_equal(encoded, np.stack([encoder.encode(ob) for ob in singles]))


@every_kind
def test_single_observations_and_batches_are_distinguished(name):
    space, ob, expected = CASES[name]
    encoder = ObservationEncoder(space)
    encoded, batched = encoder.single_or_batch(ob)
    assert not batched
    np.testing.assert_array_equal(encoded, np.asarray(expected)[None])
    for count in (1, 2, 3):
        batch = gym.vector.utils.concatenate(space, [ob] * count, gym.vector.utils.create_empty_array(space, count))
        encoded, batched = encoder.single_or_batch(batch)
        assert batched
        np.testing.assert_array_equal(encoded, np.stack([expected] * count))


def test_lists_are_accepted():
    encoder = ObservationEncoder(BOX)
    for ob, batched in (([0.5, -1.0], False), ([[0.5, -1.0]], True)):
        encoded, is_batch = encoder.single_or_batch(ob)
        assert is_batch is batched
        np.testing.assert_array_equal(encoded, [[0.5, -1]])


def test_images_become_vectors_only_on_request():
    assert ObservationEncoder(IMAGE).shape == (4, 5, 3)
    flat = ObservationEncoder(IMAGE, keep_images=False)
    assert flat.shape == (60,) and flat.dtype == np.uint8
    np.testing.assert_array_equal(flat.encode(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)), np.arange(60))


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Text(4),
        gym.spaces.Sequence(BOX),
        gym.spaces.Graph(BOX, None),
        gym.spaces.Dict({"a": BOX, "b": gym.spaces.Sequence(BOX)}),
        gym.spaces.Dict({"m": gym.spaces.Box(np.float32([[0, 1], [2, 3]]), 9), "s": gym.spaces.Sequence(BOX)}),
        gym.spaces.Box(-1, 1, (0,)),
        gym.spaces.Box(0, 255, (4, 0, 3), np.uint8),
        gym.spaces.Dict({}),
    ],
    ids=lambda space: " ".join(str(space).split()),
)
def test_spaces_without_an_encoding_are_refused_in_one_line(space):
    with pytest.raises(UserError) as error:
        ObservationEncoder(space)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("space", "ob"),
    [
        (BOX, np.zeros(3)),
        (BOX, np.zeros((4, 3))),
        (BOX, np.zeros((1, 4, 2))),
        (BOX, 0.5),
        (IMAGE, np.zeros((5, 4, 3))),
        (gym.spaces.Discrete(3), np.zeros((2, 2), int)),
        (gym.spaces.MultiBinary(3), [1, 0]),
        (gym.spaces.Dict({"a": BOX}), np.zeros(2)),
        (gym.spaces.Dict({"a": BOX}), {"b": np.zeros(2)}),
        (gym.spaces.Dict({"a": BOX}), 1.0),
        (gym.spaces.Tuple([BOX, BOX]), 1.0),
        (gym.spaces.Dict({"a": BOX, "b": BOX}), {"a": np.zeros(2)}),
    ],
    ids=str,
)
def test_an_observation_that_does_not_fit_is_refused_in_one_line(space, ob):
    with pytest.raises(UserError) as error:
        ObservationEncoder(space).single_or_batch(ob)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, ob",
    [
        ("discrete", -1),
        ("discrete", 3),
        ("discrete_start", 2),
        ("multidiscrete", np.array([2, 0])),
        ("multidiscrete", np.array([0, -1])),
        ("dict", {"a": np.float32([0, 0]), "b": 2}),
        ("tuple", (-1, np.float32([0, 0]))),
    ],
)
def test_a_choice_out_of_range_is_refused(name, ob):
    with pytest.raises(ValueError, match="is not in"):
        ObservationEncoder(CASES[name][0]).encode(ob)


# ---- dtypes: cast to that of the space without loss


class ArrayHolder:
    """An object of another library, which NumPy can read."""

    def __init__(self, x):
        self.x, self.shape = x, np.shape(x)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.x, dtype)

    def __len__(self):
        return len(self.x)


CONVERSIONS = {
    "float64": np.float64,
    "float16": np.float16,
    "int64": np.int64,
    "uint8": np.uint8,
    "list": lambda x: np.asarray(x).tolist(),
    "tensor": tf.constant,
    "variable": tf.Variable,
    "another library's": ArrayHolder,
    "big endian": lambda x: np.asarray(x, ">f8"),
}
INTEGER_CASES = {
    "float box": (BOX, [1, 0]),
    "uint8 box": (gym.spaces.Box(0, 255, (3,), np.uint8), [0, 254, 255]),
    "image": (IMAGE, np.arange(60).reshape(4, 5, 3) * 4),
    "int box": (gym.spaces.Box(-9, 9, (2,), np.int32), [3, 0]),
    "discrete": (gym.spaces.Discrete(3), 2),
    "discrete int32": (gym.spaces.Discrete(3, dtype=np.int32), 2),
    "multidiscrete": (gym.spaces.MultiDiscrete([3, 4]), [2, 3]),
    "multibinary": (gym.spaces.MultiBinary(2), [1, 0]),
    "bool box": (gym.spaces.Box(0, 1, (2,), bool), [1, 0]),
}


@pytest.mark.parametrize("conversion", CONVERSIONS)
@pytest.mark.parametrize("name", INTEGER_CASES)
def test_integers_of_any_dtype_are_encoded_alike(name, conversion):
    space, x = INTEGER_CASES[name]
    encoder, given = ObservationEncoder(space), CONVERSIONS[conversion](x)
    expected = encoder.encode(np.asarray(x, space.dtype))
    for found in (
        encoder.encode(given),
        encoder.single_or_batch(given)[0][0],
        encoder.single_or_batch(CONVERSIONS[conversion]([x, x]))[0][1],
    ):
        assert found.dtype == encoder.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "space, x, message",
    [
        (IMAGE, np.full((4, 5, 3), 0.5), "this one seems to be divided by 255"),
        (IMAGE, np.full((4, 5, 3), 1.5), "float64 with 1.5"),
        (IMAGE, np.full((4, 5, 3), 256), "with 256"),
        (IMAGE, np.full((4, 5, 3), -1, np.int8), "with -1"),
        (IMAGE, np.full((4, 5, 3), np.nan), "with nan"),
        (BOX, np.array([1e300, 0]), "with 1e[+]300"),
        (gym.spaces.Box(-9, 9, (2,), np.int32), [2**40, 0], "with 1099511627776"),
        (gym.spaces.Discrete(3), 1.5, "with 1.5"),
        (gym.spaces.Discrete(3), np.inf, "with inf"),
        (gym.spaces.MultiBinary(2), [0.5, 1], "with 0.5"),
        (gym.spaces.MultiDiscrete([2, 2]), [0.0, 0.25], "with 0.25"),
        (
            gym.spaces.Dict({"a": IMAGE, "b": gym.spaces.Discrete(2)}),
            {"a": np.full((4, 5, 3), 0.5), "b": 1},
            "with 0.5",
        ),
        (gym.spaces.Tuple([BOX, gym.spaces.Discrete(2)]), ([0, 0], 0.5), "with 0.5"),
        (BOX, ["a", "b"], "ValueError: of dtype <U1"),
        (BOX, [1j, 0], "of dtype complex128"),
        (BOX, [None, 1], "of dtype object"),
        (BOX, [[1], [1, 2]], "ValueError"),
        (gym.spaces.Discrete(3), 3.0, "is not in"),
    ],
    ids=str,
)
def test_a_number_that_the_space_cannot_represent_is_refused_in_one_line(space, x, message):
    encoder = ObservationEncoder(space)
    with pytest.raises(UserError, match=message) as error:
        encoder.single_or_batch(x)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError):
        encoder.encode(x)


def test_rounding_to_the_float_dtype_of_the_space_and_nan_are_accepted():
    found = ObservationEncoder(BOX).single_or_batch([0.1, np.nan])[0]
    np.testing.assert_array_equal(found, np.float32([[0.1, np.nan]]))
    assert found.dtype == np.float32


def test_each_part_of_a_dict_is_cast_to_its_dtype():
    space = gym.spaces.Dict(
        {"a": gym.spaces.Box(0, 255, (2,), np.uint8), "b": gym.spaces.Discrete(3), "c": gym.spaces.MultiBinary(2)}
    )
    found, _ = ObservationEncoder(space).single_or_batch(
        {"a": [254.0, 1.0], "b": tf.constant(2.0), "c": np.array([True, False])}
    )
    np.testing.assert_array_equal(found, [[254, 1, 0, 0, 1, 1, 0]])
