"""Values converted to JSON are read back unchanged, and values that JSON cannot represent are named."""

import enum
import json

import numpy as np
import pytest

from common.errors import UserError
from common.storage.array_files import load_arrays, save_arrays
from common.storage.json_values import MAX_ARGUMENT_LENGTH, split_storable, to_json


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    "value, expected",
    [
        (np.float32(1.5), 1.5),
        (np.int8(-3), -3),
        (np.True_, True),
        (np.str_("a"), "a"),
        (np.array(2.5), 2.5),
        (np.arange(3), [0, 1, 2]),
        (np.longdouble(2), 2.0),
        ((1, (2, np.int64(3))), [1, [2, 3]]),
        ({"a": np.float64(0.5)}, {"a": 0.5}),
        (Level.HIGH, 3),
        (None, None),
        (2**70, 2**70),
    ],
    ids=str,
)
def test_numpy_values_become_python_values(value, expected):
    converted = to_json(value, "x")
    assert converted == expected and type(converted) is type(expected)
    assert json.loads(json.dumps(converted)) == expected


def test_tensors_and_variables_become_numbers():
    import tensorflow as tf

    assert to_json({"a": tf.constant(2.0), "b": tf.Variable([1, 2])}, "x") == {"a": 2.0, "b": [1, 2]}


@pytest.mark.parametrize(
    "value, parts",
    [
        (lambda: 1, ["x=", "function"]),
        ({1, 2}, ["set"]),
        (b"b", ["bytes"]),
        ({"a": [0, object()]}, ["x['a'][1]", "object"]),
        ({1: 2}, ["x has the key 1"]),
        (np.array([object()]), ["ndarray"]),
        (1j, ["complex"]),
    ],
    ids=["function", "set", "bytes", "object", "key", "array", "complex"],
)
def test_a_value_that_json_cannot_represent_is_named_in_one_line(value, parts):
    with pytest.raises(UserError) as error:
        to_json(value, "x")
    assert "\n" not in str(error.value) and all(part in str(error.value) for part in parts)


def test_a_value_that_contains_itself_is_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(UserError, match="contains itself"):
        to_json(loop, "x")


def test_number_keys_of_metadata_become_text_before_the_hash_is_computed(tmp_path):
    save_arrays(tmp_path / "x", {"a": np.zeros(1)}, {"format": "f", "k": {10: 1, 2: np.float32(0.5), np.int64(3): 4}})
    assert load_arrays(tmp_path / "x", "f")[1]["k"] == {"10": 1, "2": 0.5, "3": 4}


def test_only_environment_arguments_that_survive_json_are_stored():
    stored, lost = split_storable(
        {
            "size": np.int64(3),
            "name": "a",
            "shape": (2, 3),
            "nested": {"a": [1, None, True]},
            "weight": np.float32(0.5),
            "reward_fn": lambda r: r,
            "table": np.eye(2),
            "scale": float("nan"),
            "top": np.inf,
            "level": Level.HIGH,
            "names": {1: "a"},
            "set": {1},
            "long": [1.0] * MAX_ARGUMENT_LENGTH,
        }
    )
    assert (
        stored == {"size": 3, "name": "a", "shape": [2, 3], "nested": {"a": [1, None, True]}, "weight": 0.5}
        and json.loads(json.dumps(stored)) == stored
    )
    assert lost == {
        "reward_fn": "function",
        "table": "ndarray",
        "scale": "float",
        "top": "float",
        "level": "Level",
        "names": "dict",
        "set": "set",
        "long": "list",
    }
