"""Flat action masks: equal to what Gymnasium's own `sample(mask)` allows, and every other shape is refused."""

import itertools

import gymnasium as gym
import numpy as np
import pytest

from common.envs.mask_layout import MaskLayout, flatten_mask, has_action_mask, masked_space
from common.errors import EnvError

spaces = gym.spaces
BIT, FLOATS = spaces.MultiBinary(2), spaces.Box(-1, 1, (3,))


def int8(*values):
    return np.array(values, np.int8)


# (space, a mask in Gymnasium's form, the same as a flat vector, written by hand)
CASES = {
    "Discrete": (spaces.Discrete(4), int8(0, 1, 0, 1), [0, 1, 0, 1]),
    "Discrete from 5": (spaces.Discrete(3, start=5), int8(1, 0, 0), [1, 0, 0]),
    "MultiDiscrete": (spaces.MultiDiscrete([2, 3]), (int8(0, 1), int8(1, 0, 1)), [0, 1, 1, 0, 1]),
    "MultiDiscrete of one": (spaces.MultiDiscrete([1]), (int8(1),), [1]),
    "MultiDiscrete of two axes": (
        spaces.MultiDiscrete([[2, 1], [3, 2]]),
        ((int8(1, 0), int8(1)), (int8(0, 0, 1), int8(1, 1))),
        [1, 0, 1, 0, 0, 1, 1, 1],
    ),
    "MultiBinary": (spaces.MultiBinary(3), int8(0, 1, 2), [1, 0, 0, 1, 1, 1]),
    "MultiBinary of two axes": (spaces.MultiBinary([1, 2]), int8([1, 0]), [0, 1, 1, 0]),
    "Dict": (spaces.Dict(a=BIT, b=spaces.Discrete(2)), {"a": int8(2, 0), "b": int8(0, 1)}, [1, 1, 1, 0, 0, 1]),
    "Dict, b first": (spaces.Dict(b=spaces.Discrete(2), a=BIT), {"a": int8(2, 0), "b": int8(0, 1)}, [0, 1, 1, 1, 1, 0]),
    "Dict with floats": (spaces.Dict(a=FLOATS, b=spaces.Discrete(2)), {"a": None, "b": int8(0, 1)}, [0, 1]),
    "Tuple": (
        spaces.Tuple([spaces.Discrete(2), spaces.Dict(x=spaces.MultiDiscrete([2, 2])), FLOATS]),
        (int8(1, 0), {"x": (int8(0, 1), int8(1, 1))}, None),
        [1, 0, 0, 1, 1, 1],
    ),
    "no mask for a part": (spaces.Tuple([spaces.Discrete(2), BIT]), (None, int8(1, 2)), [1, 1, 0, 1, 1, 1]),
}


@pytest.mark.parametrize(("space", "mask", "flat"), CASES.values(), ids=CASES)
def test_the_forms_of_gymnasium_and_of_sb3_contrib_agree(space, mask, flat):
    assert flatten_mask(space, mask).tolist() == flat
    assert flatten_mask(space, np.array(flat, bool)).tolist() == flat
    assert flatten_mask(space, flat).dtype == np.uint8
    assert flatten_mask(space, None).tolist() == [1] * len(flat) == [1] * MaskLayout(space).n


def choices(space, action):
    """The indices of the choices of an action in a flat mask, from the definition of the layout."""
    if isinstance(space, spaces.Dict):
        parts = [(part, action[key]) for key, part in space.spaces.items()]
    elif isinstance(space, spaces.Tuple):
        parts = list(zip(space.spaces, action))
    elif isinstance(space, spaces.Discrete):
        return [(int(space.n), int(action - space.start))]
    elif isinstance(space, spaces.MultiDiscrete):
        return [(int(n), int(a)) for n, a in zip(space.nvec.ravel(), np.ravel(action - space.start))]
    elif isinstance(space, spaces.MultiBinary):
        return [(2, int(a)) for a in np.ravel(action)]
    else:
        return []
    return [pair for part, part_action in parts for pair in choices(part, part_action)]


@pytest.mark.parametrize(("space", "mask"), [case[:2] for case in CASES.values()], ids=CASES)
def test_gymnasium_samples_exactly_the_choices_of_the_flat_mask(space, mask):
    space.seed(0)
    flat = flatten_mask(space, mask)
    taken = np.zeros(len(flat), int)
    for _ in range(200):
        sizes, picked = zip(*choices(space, space.sample(mask)))
        starts = [0, *itertools.accumulate(sizes)][:-1]
        taken[np.add(starts, picked)] = 1
    assert taken.tolist() == flat.tolist()


def test_a_box_of_integers_has_the_choices_of_its_entries():
    space = spaces.Box(np.array([0, -1], np.int8), np.array([1, 1], np.int8), dtype=np.int8)
    assert MaskLayout(space).sizes == [2, 3]
    assert flatten_mask(space, ([1, 0], [0, 0, 1])).tolist() == [1, 0, 0, 0, 1]


REFUSED = {
    "too short": (spaces.Discrete(3), [1, 0], r"of shape \(2,\), where Discrete\(3\) has a vector of shape \(3,\)"),
    "ragged": (spaces.Discrete(3), [[1], [1, 0]], "where Discrete"),
    "other lengths": (spaces.MultiDiscrete([2, 3]), ([1, 0, 1], [1, 0]), "of lengths 2, 3"),
    "an entry too few": (spaces.MultiDiscrete([2, 3]), ([1, 0],), "one vector for each entry"),
    "bools in Gymnasium's form": (BIT, [True, False], "integers: 0 and 1 fix an entry"),
    "3 for a bit": (BIT, int8(0, 3), "2 leaves it free"),
    "another key": (spaces.Dict(a=BIT), {"b": int8(2, 2)}, r"a dict with the keys \['a'\]"),
    "a part of another shape": (spaces.Dict(a=BIT), {"a": int8(2)}, r"the part \['a'\] of shape \(1,\)"),
    "a part too few": (spaces.Tuple([BIT, BIT]), (int8(2, 2),), "a tuple with 2 masks"),
    "logits": (spaces.Discrete(2), [0.0, -1e8], "with the value -1"),
    "nan": (spaces.Discrete(2), [np.nan, 1], "with the value nan"),
    "text": (spaces.Discrete(2), ["a", "b"], "of dtype <U1"),
    "nothing valid": (spaces.Discrete(2), [0, 0], "at least one action must be valid"),
    "nothing valid for one entry": (spaces.MultiDiscrete([2, 3]), [0, 1, 0, 0, 0], "choice for entry 1 of 2"),
    "nothing valid for a bit": (BIT, [1, 1, 0, 0], "choice for entry 1 of 2"),
}


@pytest.mark.parametrize(("space", "mask", "text"), REFUSED.values(), ids=REFUSED)
def test_another_mask_is_refused_with_its_shape_or_value(space, mask, text):
    with pytest.raises(EnvError, match=text):
        flatten_mask(space, mask)


def test_a_mask_is_copied():
    mask = np.array([1, 0], np.uint8)
    flat = flatten_mask(spaces.Discrete(2), mask)
    mask[:] = 0
    assert flat.tolist() == [1, 0]


def test_only_the_two_keys_and_the_right_length_are_an_observation_with_a_mask():
    ob_space, ac_space = spaces.Box(0, 1, (2,)), spaces.MultiDiscrete([2, 3])
    assert has_action_mask(masked_space(ob_space, ac_space), ac_space)
    assert not has_action_mask(ob_space, ac_space)
    assert not has_action_mask(masked_space(ob_space, ac_space), spaces.Discrete(2))
    mask_space = spaces.MultiBinary(5)
    assert not has_action_mask(spaces.Dict(action_mask=mask_space, observation=ob_space, more=ob_space), ac_space)
    assert not has_action_mask(spaces.Dict(action_mask=mask_space, observation=ob_space), FLOATS)
