"""Exported policies with action masks: the mask is an input, and no invalid action comes out."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from export_policies import onnx_functions

from baselines_ppo import MlpPolicy, export_litert, export_saved_model
from common.envs.mask_layout import masked_space

BOX = gym.spaces.Box(-1, 1, (3,), np.float32)
PARTS = gym.spaces.Dict(place=BOX, item=gym.spaces.Discrete(4))
ACTIONS = gym.spaces.MultiDiscrete([3, 2])


def policy(ob_space):
    pi = MlpPolicy("pi", masked_space(ob_space, ACTIONS), ACTIONS, hid_size=8, init="orthogonal")
    pi.weights["pol/final/b"].assign([9.0, 0, 0, 0, 9])  # the best choices without a mask are 0 and 1
    return pi


def draw(ob_space, rows):
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (rows, 5)).astype(bool)
    masks[:, 2], masks[:, 3] = True, True
    return gym.vector.utils.batch_space(ob_space, rows).sample(), masks


@pytest.mark.parametrize("ob_space", [BOX, PARTS], ids=["Box", "Dict"])
def test_a_saved_model_takes_the_mask(ob_space, tmp_path):
    pi, (obs, masks) = policy(ob_space), draw(ob_space, 40)
    export_saved_model(pi, tmp_path / "model")
    signatures = tf.saved_model.load(str(tmp_path / "model")).signatures
    leaves = {f"observation_{key}": x for key, x in obs.items()} if ob_space is PARTS else {"observation": obs}
    inputs = {name: tf.constant(x) for name, x in (leaves | {"action_mask": masks}).items()}
    found = signatures["act"](**inputs)
    ac, vpred = pi.act(False, obs, action_masks=masks)
    assert (found["action"].numpy() == ac).all()
    np.testing.assert_allclose(found["value"], vpred, rtol=1e-5, atol=1e-6)
    assert not masks[:, 0].all() and not masks[:, 4].all()
    noise = tf.constant(pi.pdtype.noise(np.random.default_rng(1), (40,)))
    for actions in (found["action"], signatures["sample"](noise=noise, **inputs)["action"]):
        first, second = np.transpose(actions)
        assert masks[np.arange(40), first].all() and masks[np.arange(40), 3 + second].all()


@pytest.mark.parametrize("ob_space", [BOX, PARTS], ids=["Box", "Dict"])
def test_onnx_models_take_the_mask(ob_space, tmp_path):
    pi, (obs, masks) = policy(ob_space), draw(ob_space, 40)
    functions = onnx_functions(pi, tmp_path / "model.onnx")
    leaves = {f"observation_{key}": x for key, x in obs.items()} if ob_space is PARTS else {"observation": obs}
    inputs = leaves | {"action_mask": masks}
    acted = functions["act"](inputs)
    ac, vpred = pi.act(False, obs, action_masks=masks)
    assert (acted["action"] == ac).all()
    np.testing.assert_allclose(acted["value"], vpred, rtol=1e-5, atol=1e-6)
    sampled = functions["sample"](inputs | {"noise": pi.pdtype.noise(np.random.default_rng(1), (40,))})
    for first, second in (acted["action"].T, sampled["action"].T):
        assert masks[np.arange(40), first].all() and masks[np.arange(40), 3 + second].all()


def test_a_litert_file_takes_the_mask(tmp_path):
    pi, (obs, masks) = policy(BOX), draw(BOX, 10)
    export_litert(pi, tmp_path / "model.tflite")
    act = tf.lite.Interpreter(str(tmp_path / "model.tflite")).get_signature_runner("act")
    expected = pi.act(False, obs, action_masks=masks)[0]
    for k in range(10):
        found = act(observation=obs[k : k + 1], action_mask=masks[k : k + 1])["action"]
        assert (found[0] == expected[k]).all()
