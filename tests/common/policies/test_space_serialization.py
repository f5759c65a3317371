"""Spaces as JSON and back, and the differences of two spaces."""

import json
from collections import OrderedDict

import gymnasium as gym
import numpy as np
import pytest

from common.errors import UserError
from common.policies.space_comparison import space_difference, spaces_compatible
from common.policies.space_serialization import from_json, to_json
from common.policies.untrusted import MAX_SPACE_DEPTH

BOX = gym.spaces.Box(-1, 1, (2,))
SPACES = [
    BOX,
    gym.spaces.Box(-np.inf, np.inf, (3, 2)),
    gym.spaces.Box(np.float32([-1, -np.inf]), np.float32([0.1, np.inf])),
    gym.spaces.Box(-2, 2, ()),
    gym.spaces.Box(0, 255, (84, 84, 4), np.uint8),
    gym.spaces.Box(-0.1, 1e300, (2,), np.float64),
    gym.spaces.Box(np.iinfo(np.int64).min, np.iinfo(np.int64).max, (2,), np.int64),
    gym.spaces.Box(0, 1, (1,), np.float16),
    gym.spaces.Box(np.arange(4, dtype=np.float32).reshape(2, 2), 9),
    gym.spaces.Discrete(5),
    gym.spaces.Discrete(3, start=-2),
    gym.spaces.MultiDiscrete([2, 3]),
    gym.spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[1, -1], [0, 7]]),
    gym.spaces.MultiDiscrete([3]),
    gym.spaces.MultiBinary(3),
    gym.spaces.MultiBinary([2, 2]),
    gym.spaces.MultiBinary(1),
    gym.spaces.Dict({"a": BOX, "b": gym.spaces.Discrete(2)}),
    gym.spaces.Tuple([BOX, gym.spaces.MultiBinary([2, 2])]),
    gym.spaces.Dict({"t": gym.spaces.Tuple([BOX, gym.spaces.Dict({"x": gym.spaces.Discrete(2, start=1)})])}),
    gym.spaces.Discrete(4, dtype=np.int32),
    gym.spaces.Discrete(np.int64(3), start=np.int8(-2), dtype=np.int16),
    gym.spaces.MultiDiscrete([3, 2], dtype=np.int32),
    gym.spaces.MultiDiscrete([3, 2], dtype=np.uint8, start=[1, 2]),
    gym.spaces.Dict({0: BOX, 1: gym.spaces.Discrete(3)}),
    gym.spaces.Dict([(1, BOX), ("1", gym.spaces.Discrete(2))]),
    gym.spaces.Dict({np.int64(3): BOX, True: BOX}),
    gym.spaces.Dict({(0, "a"): BOX, (0, "b"): BOX}),
    gym.spaces.Dict({0.5: BOX, -1.0: BOX}),
    gym.spaces.Dict({None: BOX}),
    gym.spaces.Box(np.array([0, 1], np.uint64), np.array([2**64 - 1, 5], np.uint64), dtype=np.uint64),
]


def json_round_trip(space):
    return from_json(json.loads(json.dumps(to_json(space), sort_keys=True)))


@pytest.mark.parametrize("space", SPACES, ids=lambda space: " ".join(str(space).split()))
def test_a_space_is_restored_equal(space):
    assert json_round_trip(space) == space


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Dict(z=BOX, a=gym.spaces.Discrete(2)),
        gym.spaces.Dict(OrderedDict(z=BOX, a=gym.spaces.Discrete(2))),
        gym.spaces.Dict({"z": BOX, "a": gym.spaces.Discrete(2)}, sort_keys=False),
        gym.spaces.Tuple([gym.spaces.Dict(OrderedDict(z=BOX, a=gym.spaces.Discrete(2)))]),
    ],
    ids=["kwargs", "OrderedDict", "unsorted", "nested"],
)
def test_a_dicts_parts_keep_their_order(space):
    """Gymnasium sorts a plain dict's keys and considers both orders equal, but flattened observations depend on the
    order.
    """
    back = from_json(json.loads(json.dumps(to_json(space))))
    ob = space.sample()
    np.testing.assert_array_equal(gym.spaces.flatten(back, ob), gym.spaces.flatten(space, ob))


def test_the_bounds_of_an_image_are_two_numbers():
    assert len(json.dumps(to_json(gym.spaces.Box(0, 255, (84, 84, 4), np.uint8)))) < 200


@pytest.mark.parametrize(
    "space",
    [gym.spaces.Text(3), gym.spaces.Sequence(BOX), gym.spaces.Dict({"a": BOX, "t": gym.spaces.Text(3)})],
    ids=str,
)
def test_spaces_that_cannot_be_saved_are_refused(space):
    with pytest.raises(UserError) as error:
        to_json(space)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        3,
        "Box",
        {},
        {"kind": None},
        {"kind": "Text"},
        {"kind": "Box"},
        {"kind": "Discrete", "n": 0, "start": 0},
        {"kind": "Discrete", "n": "3", "start": 0},
        {"kind": "Discrete", "n": 2.5, "start": 0},
        {"kind": "MultiDiscrete", "nvec": [0], "start": [0]},
        {"kind": "MultiDiscrete", "nvec": "x", "start": [0]},
        {"kind": "MultiDiscrete", "nvec": [2, 2], "start": [0]},
        {"kind": "MultiBinary", "n": -1},
        {"kind": "MultiBinary", "n": None},
        {"kind": "Dict", "spaces": 3},
        {"kind": "Dict", "spaces": {"a": None}},
        {"kind": "Dict", "spaces": [[{}, {"kind": "Discrete", "n": 1, "start": 0}]]},
        {"kind": "Discrete", "n": 2, "start": 0, "dtype": "float32"},
        {"kind": "MultiDiscrete", "nvec": [2], "start": [0], "dtype": ["int32"]},
        {"kind": "Tuple", "spaces": None},
        {"kind": "Tuple", "spaces": [{}]},
        {"kind": "Box", "shape": [2], "dtype": "float32", "low": [1, 2, 3], "high": 1},
        {"kind": "Box", "shape": [2], "dtype": "what", "low": 0, "high": 1},
        {"kind": "Box", "shape": [-2], "dtype": "float32", "low": 0, "high": 1},
        {"kind": "Box", "shape": None, "dtype": "float32", "low": 0, "high": 1},
        {"kind": "Box", "shape": [2], "dtype": "uint8", "low": -1, "high": 1000},
        {"kind": "Box", "shape": [2], "dtype": "float32", "low": 1, "high": 0},
        {"kind": "Box", "shape": [2], "dtype": "object", "low": 0, "high": 1},
        {"kind": "Box", "shape": [2], "dtype": "float32", "low": None, "high": 1},
    ],
    ids=str,
)
def test_invalid_descriptions_are_refused(data):
    with pytest.raises(UserError) as error:
        from_json(data)
    assert "\n" not in str(error.value)


def test_a_description_of_a_huge_box_is_refused():
    with pytest.raises(UserError):
        from_json({"kind": "Box", "shape": [10**7, 10**7, 10**4], "dtype": "float64", "low": 0, "high": 1})


def test_keys_keep_their_types():
    space = gym.spaces.Dict(
        [
            (1, BOX),
            ("1", BOX),
            (0.5, BOX),
            (False, BOX),
            (None, BOX),
            ((0, "a"), BOX),
            (np.int64(7), BOX),
            (np.str_("k"), BOX),
        ]
    )
    keys = list(json_round_trip(space).spaces)
    assert keys == [1, "1", 0.5, False, None, (0, "a"), 7, "k"] and [type(key) for key in keys] == [
        int,
        str,
        float,
        bool,
        type(None),
        tuple,
        int,
        str,
    ]


def test_a_derived_space_is_described_as_its_base():
    class Angle(gym.spaces.Box):
        pass

    class Named(gym.spaces.Discrete):
        pass

    assert json_round_trip(gym.spaces.Tuple([Angle(-1, 1, (2,)), Named(3)])) == gym.spaces.Tuple(
        [BOX, gym.spaces.Discrete(3)]
    )
    assert spaces_compatible(Angle(-1, 1, (2,)), BOX) and space_difference(Named(3), gym.spaces.Discrete(3)) is None


def test_descriptions_without_a_dtype_are_int64():
    usual = {"kind": "Discrete", "n": 3, "start": 0}
    assert (
        from_json(usual) == gym.spaces.Discrete(3) == from_json(usual | {"dtype": "int64"})
        and to_json(gym.spaces.Discrete(3)) == usual
    )
    assert to_json(gym.spaces.MultiDiscrete([2])) == {"kind": "MultiDiscrete", "nvec": [2], "start": [0]}


@pytest.mark.parametrize(
    "a, b, expected",
    [
        (gym.spaces.Discrete(3), gym.spaces.Discrete(3, dtype=np.int32), None),
        (gym.spaces.MultiDiscrete([3, 2]), gym.spaces.MultiDiscrete([3, 2], dtype=np.int16), None),
        (BOX, gym.spaces.Box(-1, 1, (2,), np.float64), None),
        (gym.spaces.Discrete(3), gym.spaces.Discrete(3, start=1), "start 0 and 1"),
        (
            gym.spaces.Dict(arm=gym.spaces.Tuple([BOX, gym.spaces.Discrete(3)])),
            gym.spaces.Dict(arm=gym.spaces.Tuple([BOX, gym.spaces.Discrete(4)])),
            "['arm'][1]: n 3 and 4",
        ),
        (gym.spaces.MultiDiscrete([2] * 200), gym.spaces.MultiDiscrete([2] * 199 + [3]), "nvec[199] 2 and 3"),
        (
            gym.spaces.Box(-1, 1, (500,)),
            gym.spaces.Box(np.r_[np.full(499, -1), -2].astype(np.float32), np.ones(500, np.float32)),
            "low[499] -1.0 and -2.0",
        ),
        (gym.spaces.Dict({1: BOX}), gym.spaces.Dict({"1": BOX}), "the parts [1] and ['1']"),
        (BOX, gym.spaces.Discrete(2), "Box(-1.0, 1.0, (2,), float32) and Discrete(2)"),
    ],
    ids=str,
)
def test_a_difference_has_its_position_and_dtypes_are_ignored(a, b, expected):
    assert space_difference(a, b) == expected


def nested(depth):
    space = BOX
    for _ in range(depth):
        space = gym.spaces.Tuple([space])
    return space


@pytest.mark.parametrize(
    "space, part",
    [
        (nested(MAX_SPACE_DEPTH + 1), "16 deep"),
        (gym.spaces.Tuple([gym.spaces.Discrete(2)] * 1001), "1,000 parts"),
        (gym.spaces.Dict({b"a": BOX}), "b'a'"),
        (gym.spaces.Box(-1, 1, (2,), np.longdouble), "use float64"),
    ],
    ids=["deep", "many", "bytes", "longdouble"],
)
def test_spaces_that_would_not_be_read_back_are_refused(space, part):
    with pytest.raises(UserError, match=part) as error:
        to_json(space)
    assert "\n" not in str(error.value)


def test_the_deepest_and_the_widest_allowed_spaces_are_read_back():
    for space in (nested(MAX_SPACE_DEPTH), gym.spaces.Tuple([gym.spaces.Discrete(2)] * 999)):
        assert json_round_trip(space) == space
