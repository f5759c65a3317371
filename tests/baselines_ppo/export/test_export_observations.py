"""Preprocessing of observations in TensorFlow is bit-identical to what a policy does in NumPy."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from export_spaces import BOX, BOX32, IMAGES, ROWS, TASK, draw
from tolerance import ulps

from baselines_ppo import MlpPolicy
from baselines_ppo.export.observations import TensorNormalizer, encode_tensors, flatten_space
from baselines_ppo.export.snippets import loading_snippet
from common.policies.observation_encoder import ObservationEncoder
from common.running_mean_std import RunningMeanStd


@pytest.mark.parametrize(
    "space",
    [
        TASK,
        BOX32,
        gym.spaces.Discrete(9, start=3),
        gym.spaces.MultiBinary([2, 2]),
        IMAGES,
        gym.spaces.MultiDiscrete([[2, 3], [2, 2]], start=[[0, 5], [0, 0]]),
        gym.spaces.Tuple([gym.spaces.Box(-1, 1, (0,)), gym.spaces.Discrete(2)]),
    ],
    ids=lambda space: type(space).__name__,
)
def test_observations_are_encoded_as_in_training(space):
    encoder, obs = ObservationEncoder(space), draw(space, np.random.default_rng(3))
    tensors = dict(zip(flatten_space(space), tf.nest.flatten(obs)))  # both in the order of sorted keys
    found = encode_tensors(encoder, {name: tf.constant(x) for name, x in tensors.items()})
    expected = encoder.single_or_batch(obs)[0]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int64])
def test_the_filter_is_bit_identical_to_that_of_the_training(dtype):
    rng = np.random.default_rng(4)
    x = (100 + rng.standard_normal((ROWS, 8)) * [0.01, 0.1, 1, 1, 5, 9, 20, 30]).astype(dtype)
    ob_rms = RunningMeanStd((8,))
    ob_rms.update(x)
    np.testing.assert_array_equal(
        TensorNormalizer(ob_rms, False).normalise(tf.constant(x), 2.0), ob_rms.normalise(x, 2.0)
    )


def test_the_filter_in_float32_is_exact_for_observations_far_from_0():
    """Four roundings of half an ulp of 5 each, and one of the mean's rest, 0.03.

    Plain float32 would have an error of up to 1e6 * 2^-24 / 0.1 = 0.6.
    """
    rng = np.random.default_rng(5)
    x = (1e6 + rng.standard_normal((ROWS, 8))).astype(np.float32)
    ob_rms = RunningMeanStd((8,))
    ob_rms.update(x + rng.standard_normal(8) / 7)
    found = tf.function(lambda x: TensorNormalizer(ob_rms, True).normalise(x, 5.0))(tf.constant(x))
    np.testing.assert_allclose(found, ob_rms.normalise(x, 5.0), rtol=0, atol=ulps(2.5, 5))


def test_leaves_with_equal_path_names_get_different_names():
    space = gym.spaces.Dict({"a b": BOX, "a_b": BOX32, "a": gym.spaces.Dict({"b": IMAGES})}, sort_keys=False)
    assert flatten_space(space) == {"observation_a_b": BOX, "observation_a_b_": BOX32, "observation_a_b__": IMAGES}


def test_the_printed_example_is_an_observation_of_the_space():
    space = gym.spaces.Dict({"a": gym.spaces.Discrete(3, start=2), "b": gym.spaces.MultiDiscrete([2, 2], start=[0, 4])})
    text = loading_snippet(MlpPolicy("pi", space, gym.spaces.Discrete(2)), Path("model"), "savedmodel")
    assert 'observation_a=tf.constant([2], "int64")' in text and "observation_b=tf.constant([[0, 4]]" in text
    pi = MlpPolicy("pi", gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2))
    assert "observation=numpy.zeros([1, 2]" in loading_snippet(pi, Path("model.tflite"), "tflite")
    assert '"observation": numpy.zeros([1, 2]' in loading_snippet(pi, Path("model.onnx"), "onnx")
