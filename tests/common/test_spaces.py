"""Spaces as JSON and back."""
import json
from collections import OrderedDict

import gymnasium as gym
import numpy as np
import pytest

from common.errors import UserError
from common.spaces import from_json, to_json

BOX = gym.spaces.Box(-1, 1, (2,))
SPACES = [
    BOX, gym.spaces.Box(-np.inf, np.inf, (3, 2)), gym.spaces.Box(np.float32([-1, -np.inf]), np.float32([0.1, np.inf])),
    gym.spaces.Box(-2, 2, ()), gym.spaces.Box(0, 255, (84, 84, 4), np.uint8), gym.spaces.Box(-0.1, 1e300, (2,), np.float64),
    gym.spaces.Box(np.iinfo(np.int64).min, np.iinfo(np.int64).max, (2,), np.int64), gym.spaces.Box(0, 1, (1,), np.float16),
    gym.spaces.Box(np.arange(4, dtype=np.float32).reshape(2, 2), 9), gym.spaces.Discrete(5), gym.spaces.Discrete(3, start=-2),
    gym.spaces.MultiDiscrete([2, 3]), gym.spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[1, -1], [0, 7]]), gym.spaces.MultiDiscrete([3]),
    gym.spaces.MultiBinary(3), gym.spaces.MultiBinary([2, 2]), gym.spaces.MultiBinary(1),
    gym.spaces.Dict({"a": BOX, "b": gym.spaces.Discrete(2)}), gym.spaces.Tuple([BOX, gym.spaces.MultiBinary([2, 2])]),
    gym.spaces.Dict({"t": gym.spaces.Tuple([BOX, gym.spaces.Dict({"x": gym.spaces.Discrete(2, start=1)})])}),
]


def through_a_file(space):
    return from_json(json.loads(json.dumps(to_json(space), sort_keys=True)))


@pytest.mark.parametrize("space", SPACES, ids=lambda space: " ".join(str(space).split()))
def test_a_space_comes_back_equal(space):
    assert through_a_file(space) == space


@pytest.mark.parametrize("space", [
    gym.spaces.Dict(z=BOX, a=gym.spaces.Discrete(2)), gym.spaces.Dict(OrderedDict(z=BOX, a=gym.spaces.Discrete(2))),
    gym.spaces.Dict({"z": BOX, "a": gym.spaces.Discrete(2)}, sort_keys=False),
    gym.spaces.Tuple([gym.spaces.Dict(OrderedDict(z=BOX, a=gym.spaces.Discrete(2)))]),
], ids=["kwargs", "OrderedDict", "unsorted", "nested"])
def test_a_dicts_parts_keep_their_order(space):
    """Gymnasium sorts a plain dict's keys and calls both orders equal; flattened observations, and the weights behind them, are not."""
    back = from_json(json.loads(json.dumps(to_json(space))))
    ob = space.sample()
    np.testing.assert_array_equal(gym.spaces.flatten(back, ob), gym.spaces.flatten(space, ob))


def test_an_images_bounds_are_two_numbers():
    assert len(json.dumps(to_json(gym.spaces.Box(0, 255, (84, 84, 4), np.uint8)))) < 200


@pytest.mark.parametrize("space", [
    gym.spaces.Text(3), gym.spaces.Sequence(BOX), gym.spaces.Dict({"a": BOX, "t": gym.spaces.Text(3)})], ids=str)
def test_spaces_that_cannot_be_saved_are_refused(space):
    with pytest.raises(UserError) as error:
        to_json(space)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [
    None, [], 3, "Box", {}, {"kind": None}, {"kind": "Text"}, {"kind": "Box"},
    {"kind": "Discrete", "n": 0, "start": 0}, {"kind": "Discrete", "n": "3", "start": 0},
    {"kind": "Discrete", "n": 2.5, "start": 0}, {"kind": "MultiDiscrete", "nvec": [0], "start": [0]},
    {"kind": "MultiDiscrete", "nvec": "x", "start": [0]},
    {"kind": "MultiDiscrete", "nvec": [2, 2], "start": [0]}, {"kind": "MultiBinary", "n": -1}, {"kind": "MultiBinary", "n": None},
    {"kind": "Dict", "spaces": 3}, {"kind": "Dict", "spaces": {"a": None}},
    {"kind": "Tuple", "spaces": None}, {"kind": "Tuple", "spaces": [{}]},
    {"kind": "Box", "shape": [2], "dtype": "float32", "low": [1, 2, 3], "high": 1},
    {"kind": "Box", "shape": [2], "dtype": "what", "low": 0, "high": 1},
    {"kind": "Box", "shape": [-2], "dtype": "float32", "low": 0, "high": 1},
    {"kind": "Box", "shape": None, "dtype": "float32", "low": 0, "high": 1},
    {"kind": "Box", "shape": [2], "dtype": "uint8", "low": -1, "high": 1000},
    {"kind": "Box", "shape": [2], "dtype": "float32", "low": 1, "high": 0},
    {"kind": "Box", "shape": [2], "dtype": "object", "low": 0, "high": 1},
    {"kind": "Box", "shape": [2], "dtype": "float32", "low": None, "high": 1},
], ids=str)
def test_what_describes_no_space_is_refused(data):
    with pytest.raises(UserError) as error:
        from_json(data)
    assert "\n" not in str(error.value)


def test_a_description_of_a_box_too_large_to_hold_is_refused():
    with pytest.raises(UserError):
        from_json({"kind": "Box", "shape": [10**7, 10**7, 10**4], "dtype": "float64", "low": 0, "high": 1})
