"""`combine`: an observation and its mask, or a batch of both, become what a policy with masks takes."""

import gymnasium as gym
import numpy as np
import pytest

from common.distributions import make_pdtype
from common.envs.mask_layout import MaskLayout, masked_space
from common.errors import UserError
from common.policies.inputs.masked_observations import combine

spaces = gym.spaces
PLACE, FOUR = spaces.Box(0, 9, (2,), np.float32), spaces.Discrete(4)
PAIR = spaces.MultiDiscrete([2, 3])
OB, MASK = np.float32([1, 2]), [1, 0, 0, 1]


def test_a_mask_has_an_entry_for_each_choice_that_the_distribution_has():
    integers = spaces.Box(np.array([0, -1]), np.array([1, 1]), dtype=np.int64)
    for space in (FOUR, PAIR, PLACE, integers, spaces.MultiBinary([2, 3]), spaces.Box(0, 1, (2,), bool)):
        assert MaskLayout(space).n == make_pdtype(space).num_choices()
    parts = spaces.Dict(b=PAIR, a=spaces.Tuple([FOUR, PLACE, spaces.MultiBinary(2)]), c=integers)
    assert MaskLayout(parts).n == make_pdtype(parts).num_choices() == 5 + 4 + 4 + 5


def joined(ob, masks=None, ac_space=FOUR, ob_space=PLACE):
    return combine(masked_space(ob_space, ac_space), ac_space, ob, action_masks=masks)


@pytest.mark.parametrize("mask", [MASK, np.array(MASK, bool), np.int8(MASK)])
def test_one_observation_with_its_mask(mask):
    for found in (joined(OB, mask), joined({"observation": OB, "action_mask": mask})):
        assert found["observation"] is OB
        assert found["action_mask"].dtype == np.int8
        assert found["action_mask"].tolist() == MASK


@pytest.mark.parametrize("masks", [np.array([MASK] * 3, bool), [MASK] * 3, [np.int8(MASK)] * 3])
def test_a_batch_has_one_mask_for_each_observation(masks):
    batch = np.stack([OB] * 3)
    for found in (joined(batch, masks), joined({"observation": batch, "action_mask": masks})):
        assert found["observation"] is batch
        assert found["action_mask"].tolist() == [MASK] * 3


def test_masks_in_the_forms_of_gymnasium():
    mask = (np.int8([0, 1]), np.int8([1, 0, 1]))
    assert joined(OB, mask, PAIR)["action_mask"].tolist() == [0, 1, 1, 0, 1]
    assert joined([OB, OB], [mask, mask], PAIR)["action_mask"].tolist() == [[0, 1, 1, 0, 1]] * 2
    parts = spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(-1, 1, (1,)))
    assert joined(OB, {"a": [0, 1], "b": None}, parts)["action_mask"].tolist() == [0, 1]
    batch = {"a": np.int8([[0, 1], [1, 1]])}
    with pytest.raises(UserError, match="a dict with the keys"):
        joined([OB, OB], batch, parts)
    assert joined([OB, OB], batch | {"b": [None, None]}, parts)["action_mask"].tolist() == [[0, 1], [1, 1]]


def test_observations_that_are_dicts_themselves():
    ob_space = spaces.Dict(action_mask=PLACE, more=spaces.Discrete(3))
    ob = {"action_mask": OB, "more": 1}
    assert joined(ob, MASK, ob_space=ob_space)["observation"] is ob
    batch = {"action_mask": np.stack([OB, OB]), "more": np.array([1, 2])}
    assert joined(batch, [MASK, MASK], ob_space=ob_space)["action_mask"].tolist() == [MASK, MASK]


def test_a_policy_without_masks_gets_its_observation_as_it_is():
    assert combine(PLACE, FOUR, OB) is OB
    with pytest.raises(UserError, match="trained without action masks; leave action_masks out"):
        combine(PLACE, FOUR, OB, action_masks=MASK)


def test_a_policy_with_masks_needs_exactly_one():
    with pytest.raises(UserError, match=r"trained with action masks: give action_masks=\.\.\."):
        joined(OB)
    with pytest.raises(UserError, match="contains an action mask already"):
        joined({"observation": OB, "action_mask": MASK}, MASK)


REFUSED = {
    "of another length": (OB, [1, 0], r"invalid action_masks: of shape \(2,\), where Discrete\(4\)"),
    "a batch for one observation": (OB, [MASK], r"of shape \(1, 4\)"),
    "one for a batch": (np.stack([OB] * 3), MASK, "must be 3 masks, one for each observation"),
    "one too few": (np.stack([OB] * 3), [MASK] * 2, "must be 3 masks"),
    "nothing valid": (OB, [0] * 4, "without a valid action of Discrete"),
    "nothing valid in a batch": ([OB, OB], [MASK, [0] * 4], r"invalid action_masks\[1\].*without a valid action"),
    "logits": (OB, [0.5, 0, 0, 1], "with the value 0.5"),
}


@pytest.mark.parametrize(("ob", "masks", "text"), REFUSED.values(), ids=REFUSED)
def test_other_masks_are_refused(ob, masks, text):
    with pytest.raises(UserError, match=text):
        joined(ob, masks)
