"""Exported policies with a memory: the state is an input and an output, in the same numbers as in the policy."""

import exact_memory
import exact_networks
import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from exact_networks import Bounded
from export_policies import onnx_functions
from tolerance import ulps

from baselines_ppo import CnnPolicy, MlpPolicy, export_litert, export_saved_model
from baselines_ppo.networks.mixed_policy import MixedPolicy
from common.distributions import NumpyOperators
from common.envs.mask_layout import masked_space
from common.errors import UserError

BOX = gym.spaces.Box(-np.inf, np.inf, (3,), np.float64)
FLOATS = gym.spaces.Box(-1, 1, (3,), np.float32)
IMAGES = gym.spaces.Box(0, 255, (20, 20, 3), np.uint8)
PARTS = gym.spaces.Dict(
    {"goal": gym.spaces.Discrete(3, start=-1), "eye": IMAGES, "arm": gym.spaces.Tuple([BOX, gym.spaces.MultiBinary(2)])}
)
CHOICES, TORQUES = gym.spaces.Discrete(4), gym.spaces.Box(-0.5, 0.5, (2,))
K, STEPS = 3, 6


def memory(policy, ob_space, ac_space, cell, **settings):
    """A policy with a memory, whose outputs depend on its state, and with a filter that is not the identity."""
    pi = policy("pi", ob_space, ac_space, memory=cell, memory_size=5, init="orthogonal", **settings)
    pi.initialise(np.random.default_rng(1))
    for name, v in pi.weights.items():
        if name.startswith("pol/final") or name == "memory/h/b":
            v.assign(np.random.default_rng(2).normal(0, 2, v.shape))
    if pi.ob_rms is not None:
        pi.ob_rms.update(10 + 3 * np.random.default_rng(3).standard_normal((50, *pi.ob_rms.mean.shape)))
    return pi


CASES = {
    "lstm": lambda: memory(MlpPolicy, BOX, TORQUES, "lstm", hid_size=8),
    "gru": lambda: memory(MlpPolicy, FLOATS, CHOICES, "gru", hid_size=8, shared_trunk=True),
    "masked": lambda: memory(MlpPolicy, masked_space(BOX, CHOICES), CHOICES, "gru", hidden=[8]),
    "images": lambda: memory(CnnPolicy, IMAGES, CHOICES, "lstm", kind="small"),
    "mixed": lambda: memory(MixedPolicy, masked_space(PARTS, CHOICES), CHOICES, "lstm", kind="small", hidden=[]),
}


def draw(pi, rng):
    """(observations of K environments, the same as inputs of the export)."""
    space = pi.network_space
    space.seed(int(rng.integers(1000)))
    ob = gym.vector.utils.batch_space(space, K).sample()
    if space is PARTS:
        ob["arm"] = (10 + 3 * rng.standard_normal((K, 3)), ob["arm"][1])
        leaves = {"goal": ob["goal"], "eye": ob["eye"], "arm_0": ob["arm"][0], "arm_1": ob["arm"][1]}
        tensors = {f"observation_{name}": x for name, x in leaves.items()}
    else:
        if space is BOX:
            ob = 10 + 3 * rng.standard_normal((K, 3))
        tensors = {"observation": ob}
    return ob, tensors


def normalised(pi, x):
    """Numbers normalised as the policy does, in float64; one rounding to float32."""
    x = np.clip((x - pi.ob_rms.mean) / pi.ob_rms.std, -pi.ob_clip, pi.ob_clip)
    return Bounded(x, ulps(3, np.maximum(np.abs(x), 1)))


def features(pi, ob):
    """The input of the memory, in float64."""
    if isinstance(pi, CnnPolicy):
        return exact_networks.convolutions(pi.images, pi.weights, ob)
    if not isinstance(pi, MixedPolicy):
        return normalised(pi, ob)
    # in the order of gymnasium.spaces.flatten: arm, eye, goal
    numbers = normalised(pi, np.concatenate([ob["arm"][0], ob["arm"][1]], axis=1))
    choices = np.eye(3)[ob["goal"] + 1]
    images = exact_networks.convolutions(pi.images["eye"], pi.weights, ob["eye"])
    return exact_memory.joined(numbers, Bounded(choices, np.zeros_like(choices)), images)


def steps(pi):
    """(observations, inputs, episode_start, masks) of consecutive steps; episodes start in some of them."""
    rng = np.random.default_rng(5)
    for t in range(STEPS):
        ob, tensors = draw(pi, rng)
        start = np.array([t == 0, t in (0, 3), t in (0, 4)])
        masks = None
        if pi.masked:
            masks = np.ones((K, 4), bool)
            masks[np.arange(K), rng.integers(4, size=K)] = False
            tensors["action_mask"] = masks
        yield ob, tensors | {"episode_start": start}, start, masks


def check_step(pi, call, sample, ob, tensors, start, masks, state):
    """Check one step from a state; returns the state after it."""
    flat, vpred, after = exact_memory.outputs(pi, features(pi, ob), state, start)
    assert max(after.error.max(), vpred.error.max(), flat.error.max()) < 0.01
    if not start.all():  # the memory matters by far more than rounding
        forgotten = exact_memory.outputs(pi, features(pi, ob), state, np.ones(K, bool))[0]
        assert np.abs(forgotten.value - flat.value)[~start].max() > 10 * flat.error.max()
    found = call(tensors | {"state": state})
    ac, value, following = pi.act(False, ob, state, start, action_masks=masks)
    own_flat = pi.pd(ob, state, start, action_masks=masks).flat.numpy()
    for one, other, bounded in (
        (found["value"], value, vpred),
        (found["state"], following, after),
        (np.where(tensors.get("action_mask", True), found["flatparam"], flat.value), None, flat),
    ):
        exact_networks.assert_within(one, bounded)
        if other is not None:
            exact_networks.assert_within(other, bounded)
    if pi.ac_space is CHOICES:
        logits = np.where(True if masks is None else masks, flat.value, -np.inf)
        best = np.sort(logits, axis=1)
        clear = best[:, -1] - best[:, -2] > 2 * flat.error.max()
        assert (found["action"] == np.argmax(logits, axis=1))[clear].all() and (found["action"] == ac)[clear].all()
    else:
        exact_networks.assert_within(found["action"], flat.at(slice(None), slice(2)))
    noise = pi.pdtype.noise(np.random.default_rng(6), (K,))
    sampled = sample(tensors | {"state": state, "noise": noise})
    np.testing.assert_array_equal(sampled["state"], found["state"])
    expected = pi.pdtype.sample(NumpyOperators, own_flat, noise)
    np.testing.assert_allclose(sampled["action"], expected, rtol=0, atol=8 * flat.error.max())
    return np.asarray(found["state"])


@pytest.mark.parametrize("name", CASES)
def test_a_saved_model_remembers_as_the_policy_does(name, tmp_path):
    pi = CASES[name]()
    export_saved_model(pi, tmp_path / "model")
    signatures = tf.saved_model.load(str(tmp_path / "model")).signatures

    def caller(key):
        return lambda inputs: {
            name: x.numpy()
            for name, x in signatures[key](**{name: tf.constant(x) for name, x in inputs.items()}).items()
        }

    state = np.full((K, pi.state_size), 7, np.float32)  # forgotten, because episodes start
    for step in steps(pi):
        state = check_step(pi, caller("act"), caller("sample"), *step, state)


@pytest.mark.parametrize("name", ["lstm", "gru", "masked", "images"])
def test_a_litert_file_remembers_as_the_policy_does(name, tmp_path):
    pi = CASES[name]()
    export_litert(pi, tmp_path / "model.tflite")
    interpreter = tf.lite.Interpreter(str(tmp_path / "model.tflite"))

    def caller(key):
        def call(inputs):
            runner = interpreter.get_signature_runner(key)
            rows = [
                runner(
                    **{
                        name: x[k : k + 1].astype("f4") if x.dtype == "f8" else x[k : k + 1]
                        for name, x in inputs.items()
                    }
                )
                for k in range(K)
            ]
            return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

        return call

    state = np.zeros((K, pi.state_size), np.float32)
    for ob, tensors, *rest in steps(pi):
        if ob.dtype == np.float64:  # what LiteRT sees
            ob = tensors["observation"] = ob.astype(np.float32).astype(np.float64)
        state = check_step(pi, caller("act"), caller("sample"), ob, tensors, *rest, state)


@pytest.mark.parametrize("name", CASES)
def test_onnx_models_remember_as_the_policy_does(name, tmp_path):
    pi = CASES[name]()
    functions = onnx_functions(pi, tmp_path / "model.onnx")
    state = np.zeros((K, pi.state_size), np.float32)
    own_state = state
    for step in steps(pi):
        inputs = step[1] | {"state": state}
        ac, vpred, own_state = pi.act(False, step[0], own_state, step[2], action_masks=step[3])
        found = functions["act"](inputs)
        if pi.ac_space is TORQUES:
            assert np.max(np.abs(found["action"] - ac) / (1 + np.abs(ac))) <= 1e-5
        np.testing.assert_allclose(found["value"], vpred, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found["state"], own_state, rtol=1e-5, atol=1e-5)
        state = check_step(pi, functions["act"], functions["sample"], *step, state)


def test_a_litert_file_of_mixed_observations_is_refused_in_one_line(tmp_path):
    with pytest.raises(
        UserError, match="is not supported by LiteRT export, which takes one tensor.*export a Saved"
    ) as e:
        export_litert(CASES["mixed"](), tmp_path / "model.tflite")
    assert "\n" not in str(e.value)
