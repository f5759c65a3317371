"""Exported policies return each part of a Dict or Tuple action under a separate name."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from export_policies import onnx_functions
from small_policies import Linear

from baselines_ppo.export import export_litert, export_saved_model
from baselines_ppo.export.snippets import loading_snippet
from common.vec_env.actions import ActionStructure

OBS = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
SPACE = gym.spaces.Tuple(
    [
        gym.spaces.Dict(
            {
                "bits": gym.spaces.MultiBinary([2, 2]),
                "arm up": gym.spaces.Discrete(3, start=-1),
                "force": gym.spaces.Box(-1, 0.5, (2,), np.float64),
            }
        ),
        gym.spaces.Box(np.array([-3, 0]), np.array([1, 2]), dtype=np.int16),
    ]
)
# name of an output: how to find it in an action
NAMES = {
    "0_arm_up": lambda action: action[0]["arm up"],
    "0_bits": lambda action: action[0]["bits"],
    "0_force": lambda action: action[0]["force"],
    "1": lambda action: action[1],
}
ROWS = 20


@pytest.fixture
def policy():
    """Return (policy, observations) of small whole numbers, whose products and sums have no rounding error."""
    rng = np.random.default_rng(0)
    pi = Linear("pi", OBS, SPACE)
    pi.w.assign(rng.integers(-2, 3, pi.w.shape))
    logstd = pi.pdtype.logstd_indices()
    pi.w.assign(np.where(np.isin(np.arange(pi.w.shape[1]), logstd), 0, pi.w))  # standard deviations of 1
    return pi, rng.integers(-2, 3, (ROWS, 3)).astype(np.float32)


def check(pi, found, stored, float32_only=False):
    """Check the outputs against stored actions [N, n]."""
    clipped, low, high = ActionStructure(SPACE).batch(stored), *(SPACE[0]["force"].low, SPACE[0]["force"].high)
    for name, part in NAMES.items():
        is_box = name == "0_force"
        output = np.asarray(found[f"env_action_{name}" if is_box else f"action_{name}"])
        expected = part(clipped)
        assert output.dtype == (np.float32 if is_box and float32_only else expected.dtype)
        np.testing.assert_array_equal(output, expected)
    keys = list(SPACE[0].spaces)
    start = sum(int(np.prod(SPACE[0][key].shape)) for key in keys[: keys.index("force")])
    raw = np.asarray(found["action_0_force"])
    np.testing.assert_array_equal(raw, stored[:, start : start + 2].astype(np.float32))
    assert (raw < low).any() and (raw > high).any()  # not clipped
    outputs = {f"action_{name}" for name in NAMES} | {"env_action_0_force"}
    assert set(found) - {"value", "flatparam"} == outputs


def test_saved_model(policy, tmp_path):
    pi, obs = policy
    path = export_saved_model(pi, tmp_path / "model")
    model = tf.saved_model.load(str(path))
    check(pi, model.signatures["act"](observation=tf.constant(obs)), pi.act(False, obs)[0])
    noise = np.round(pi.pdtype.noise(np.random.default_rng(1), (ROWS,)))
    stored = pi.pd(obs).sample(noise).numpy()
    check(pi, model.signatures["sample"](observation=tf.constant(obs), noise=tf.constant(noise)), stored)
    printed = {}
    exec(loading_snippet(pi, path, "savedmodel").replace("print(", "found = ("), printed)
    assert set(printed["found"]) >= {"action_1", "env_action_0_force"}


def test_litert(policy, tmp_path):
    pi, obs = policy
    act = tf.lite.Interpreter(str(export_litert(pi, tmp_path / "model.tflite"))).get_signature_runner("act")
    rows = [act(observation=ob[None]) for ob in obs]
    found = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    check(pi, found, pi.act(False, obs)[0], float32_only=True)


def test_onnx(policy, tmp_path):
    pi, obs = policy
    path = tmp_path / "model.onnx"
    functions = onnx_functions(pi, path)
    check(pi, functions["act"]({"observation": obs}), pi.act(False, obs)[0])
    noise = np.round(pi.pdtype.noise(np.random.default_rng(1), (ROWS,)))
    check(pi, functions["sample"]({"observation": obs, "noise": noise}), pi.pd(obs).sample(noise).numpy())
    printed = {}
    exec(loading_snippet(pi, path, "onnx").replace("print(", "found = ("), printed)
    assert len(printed["found"]) == len(functions["act"]({"observation": obs}))
