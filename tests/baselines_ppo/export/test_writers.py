"""Exported policies act as the original policies do, in a process with TensorFlow and without this package."""

import contextlib
import functools
import io
import os
import re
import subprocess
import sys

import exact_networks
import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from export_policies import LITERT, PRINTED, SAVED_MODELS, build, decided
from jobs import run
from tolerance import ulps

from baselines_ppo import CnnPolicy, MlpPolicy
from baselines_ppo.export import command as export
from baselines_ppo.export import export_litert, export_saved_model
from baselines_ppo.export.graph import policy_functions
from common.distributions import DiagGaussianPdType, NumpyOperators

SERVER = """
import contextlib, pathlib, sys
import numpy as np, tensorflow as tf
for case in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    inputs = dict(np.load(case / "in.npz"))
    noise = inputs.pop("noise")
    if (case / "model.tflite").exists():
        interpreter, outs = tf.lite.Interpreter(str(case / "model.tflite")), {}
        for key, tensors in ("act", inputs), ("sample", inputs | {"noise": noise}):
            runner = interpreter.get_signature_runner(key)
            rows = [runner(**{name: x[i:i + 1] for name, x in tensors.items()}) for i in range(len(noise))]
            outs |= {f"{key}_{name}": np.concatenate([row[name] for row in rows]) for name in rows[0]}
    else:
        signatures = tf.saved_model.load(str(case / "model")).signatures
        tensors = {name: tf.constant(x) for name, x in inputs.items()}
        outs = {f"act_{name}": x for name, x in signatures["act"](**tensors).items()}
        tensors = {name: tf.constant(x) for name, x in (inputs | {"noise": noise}).items()}
        outs |= {f"sample_{name}": x for name, x in signatures["sample"](**tensors).items()}
    np.savez(case / "out.npz", **outs)
    if (case / "printed.py").exists():
        with open(case / "printed.txt", "w") as file, contextlib.redirect_stdout(file):
            exec((case / "printed.py").read_text())
assert not {"baselines_ppo", "common"} & {name.split(".")[0] for name in sys.modules}
"""


every_case = pytest.mark.parametrize("name", [*SAVED_MODELS, *LITERT])


@functools.cache
def expected(name):
    """Return {"action": the most likely one, "value", "flatparam"}, computed by the methods of the policy of a case."""
    pi, obs, _ = build(name)
    ac, vpred = pi.act(False, obs)
    return {
        "action": ac,
        "value": vpred,
        "flatparam": pi.forward(pi.prepare(pi.encoder.single_or_batch(obs)[0]))[0].numpy(),
    }


@functools.cache
def exact(name):
    """Return {"flatparam", "value"} of the policy of a case in float64, each with a bound of the error in float32."""
    pi, obs, _ = build(name)
    ob = pi.encoder.single_or_batch(obs)[0]
    if isinstance(pi, CnnPolicy):
        flat, vpred = exact_networks.cnn(pi, ob)
    elif isinstance(pi, MlpPolicy):
        # LiteRT's filter is in float32: four roundings of numbers up to the clip of 5, and one of the mean's rest
        flat, vpred = exact_networks.mlp(pi, ob, input_ulps=3 if name in LITERT else 0.5)
    else:
        x = np.float64(pi.prepare(ob))
        x = exact_networks.Bounded(x, ulps(3, np.maximum(np.abs(x), 1)))
        flat, vpred = (exact_networks.dense(x, w.numpy().astype(np.float64), 0.0) for w in (pi.w, pi.v))
        vpred = vpred.at(slice(None), 0)
    # of numbers up to 10; the weights of another policy, or a missing filter, cause errors of 1 and more
    assert max(flat.error.max(), vpred.error.max()) < 0.01
    return {"flatparam": flat, "value": vpred}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Return {case: {output: array}}, as one process computes them that has only TensorFlow, and what the printed lines
    print there.
    """
    root = tmp_path_factory.mktemp("served")
    for name in (*SAVED_MODELS, *LITERT):
        pi, obs, noise = build(name)
        (root / name).mkdir()
        tensors = (SAVED_MODELS | LITERT)[name][-1](obs)
        if name in LITERT:
            export_litert(pi, root / name / "model.tflite")
            tensors = {key: x if x.dtype == np.uint8 else x.astype(np.float32) for key, x in tensors.items()}
        else:
            export_saved_model(pi, root / name / "model")
        np.savez(root / name / "in.npz", noise=noise, **tensors)
    for name in PRINTED:
        build(name)[0].save(root / name / "policy.safetensors")
        arguments = [str(root / name), str(root / name / "deep" / f"again{'.tflite' if name in LITERT else ''}")]
        if name in LITERT:  # a separate process takes seconds
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                assert export.main(arguments) == 0
            printed = printed.getvalue()
        else:
            done = run(1, "-m", "baselines_ppo.export", *arguments)
            assert done.returncode == 0 and not done.stderr, done.stderr
            printed = done.stdout
        (root / name / "printed.py").write_text("\n".join(printed.splitlines()[-3:]))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "TF_CPP_MIN_LOG_LEVEL": "3"
    }
    process = subprocess.run(
        [sys.executable, "-I", "-c", SERVER, str(root)],
        capture_output=True,
        text=True,
        cwd="/",
        env=environment,
        timeout=240,
    )
    assert process.returncode == 0, process.stderr
    texts = {name: (root / name / "printed.txt").read_text() for name in PRINTED}
    return {name: dict(np.load(root / name / "out.npz")) for name in (*SAVED_MODELS, *LITERT)} | {"printed": texts}


def assert_same_actions(name, found, expected_actions, noise):
    """Compare actions for noise [N, p], or [N, n] for a Gaussian, within the error bounds of both networks.

    Discrete choices are compared if the best one leads the next by more than these errors.
    """
    pdtype, flat = build(name)[0].pdtype, exact(name)["flatparam"]
    assert len(np.unique(expected_actions)) > 1
    if isinstance(pdtype, DiagGaussianPdType):
        exact_networks.assert_within(found, exact_networks.gaussian_sample(pdtype, flat, noise))
        exact_networks.assert_within(expected_actions, exact_networks.gaussian_sample(pdtype, flat, noise))
    else:
        clear = decided(pdtype, flat.value + noise, 2 * flat.error.max() + ulps(2, np.abs(flat.value + noise).max()))
        assert clear.mean() > 0.98
        np.testing.assert_array_equal(found[clear], expected_actions[clear])


@every_case
def test_act_returns_the_most_likely_actions_of_the_policy(served, name):
    assert_same_actions(name, served[name]["act_action"], expected(name)["action"], 0.0)


@every_case
def test_sample_returns_the_actions_of_the_policy_for_the_same_noise(served, name):
    (pi, _, noise), flat = build(name), expected(name)["flatparam"]
    sampled = pi.pdtype.sample(NumpyOperators, flat, noise)
    assert_same_actions(name, served[name]["sample_action"], sampled, noise)


@every_case
@pytest.mark.parametrize("output", ["value", "flatparam"])
def test_value_and_flatparam_are_those_of_the_policy(served, name, output):
    exact_networks.assert_within(served[name][f"act_{output}"], exact(name)[output])
    exact_networks.assert_within(expected(name)[output], exact(name)[output])


@every_case
def test_actions_are_in_the_action_space(served, name):
    space = build(name)[0].ac_space
    for key in ("act", "sample"):
        found = served[name][f"{key}_{'env_action' if isinstance(space, gym.spaces.Box) else 'action'}"]
        assert found.dtype == (np.float32 if name in LITERT and isinstance(space, gym.spaces.Box) else space.dtype)
        assert all(space.contains(np.asarray(ac)) for ac in found.astype(space.dtype))


@pytest.mark.parametrize("name", ["box_of_float64", "matrices", "lite_box"])
def test_env_action_is_the_action_clipped_to_the_box(served, name):
    space, found = build(name)[0].ac_space, served[name]
    clipped = np.clip(found["sample_action"], space.low, space.high)
    assert 0.05 < np.mean(clipped != found["sample_action"]) < 0.95
    np.testing.assert_allclose(found["sample_env_action"], clipped, rtol=ulps(2, 1))  # a bound of 0.1, rounded inwards


@pytest.mark.parametrize("name", PRINTED)
def test_the_printed_lines_load_and_act(served, name):
    """They print the action at an observation of zeros, with the eight digits that NumPy prints."""
    pi = build(name)[0]
    mean = exact_networks.mlp(pi, np.zeros((1, 5)), input_ulps=3 if name in LITERT else 0.5)[0].at(0, slice(3))
    numbers = [float(x) for x in re.findall(r"-?\d+\.?\d*(?:e[-+]\d+)?", served["printed"][name].split("shape=")[0])]
    mean = exact_networks.Bounded(np.clip(mean.value, pi.ac_space.low, pi.ac_space.high), mean.error)
    exact_networks.assert_within(numbers, mean, beside=1e-7 * np.abs(mean.value))


def test_serving_default_accepts_any_number_of_observations(tmp_path):
    pi, obs, _ = build("box_of_float64")
    serve = tf.saved_model.load(str(export_saved_model(pi, tmp_path / "model"))).signatures["serving_default"]
    for rows in (1, 7):
        exact_networks.assert_within(
            serve(observation=tf.constant(obs[:rows]))["action"],
            exact("box_of_float64")["flatparam"].at(slice(rows), slice(3)),
        )


def test_an_exported_policy_does_not_change_with_the_original(tmp_path):
    pi, obs, _ = build.__wrapped__("box_of_float64")
    path = export_saved_model(pi, tmp_path / "model")
    for v in pi.get_variables():
        v.assign(tf.zeros_like(v))
    acted = tf.saved_model.load(str(path)).signatures["act"](observation=tf.constant(obs))["action"]
    # with the weights at the time of the export
    exact_networks.assert_within(acted, exact("box_of_float64")["flatparam"].at(slice(None), slice(3)))


@pytest.mark.parametrize("name", ["box_of_float64", "own_filter", "lite_own"])
def test_exporting_does_not_change_the_filter_of_the_policy(name):
    pi = build(name)[0]
    ob_rms = pi.ob_rms
    policy_functions(pi, batch=1, float32_only=name in LITERT)
    assert pi.ob_rms is ob_rms
