"""ONNX models act as the original policies do, in a process with ONNX Runtime and neither TensorFlow nor this package."""

import contextlib
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from doc_pages import DOCS, blocks
from export_policies import SAVED_MODELS, build, decided, require_onnx
from export_spaces import BOX, TORQUES

import baselines_ppo
from baselines_ppo import MlpPolicy, export_onnx
from baselines_ppo.export import command as export
from baselines_ppo.export.graph import policy_functions
from baselines_ppo.export.targets import sample_path
from common.distributions import DiagGaussianPdType, NumpyOperators
from common.policies.space_serialization import from_json

CASES = [name for name in SAVED_MODELS if name != "trained"]
SERVER = """
import pathlib, sys
import numpy as np, onnxruntime
for case in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    inputs, outs = dict(np.load(case / "in.npz")), {}
    for signature, file in ("act", "model.onnx"), ("sample", "model.sample.onnx"):
        session = onnxruntime.InferenceSession(case / file)
        feeds = {x.name: inputs[x.name] for x in session.get_inputs()}
        names = [x.name for x in session.get_outputs()]
        outs |= {f"{signature}_{name}": x for name, x in zip(names, session.run(None, feeds))}
    np.savez(case / "out.npz", **outs)
assert not {"baselines_ppo", "common", "tensorflow"} & {name.split(".")[0] for name in sys.modules}
"""
every_case = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module", autouse=True)
def packages():
    require_onnx()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Return {case: {output: array}} of 1,000 observations, as one process computes them that has only ONNX Runtime."""
    root = tmp_path_factory.mktemp("served")
    for name in CASES:
        pi, obs, noise = build(name)
        export_onnx(pi, root / name / "model.onnx")
        np.savez(root / name / "in.npz", noise=noise, **SAVED_MODELS[name][-1](obs))
    process = subprocess.run(
        [sys.executable, "-I", "-c", SERVER, str(root)], capture_output=True, text=True, cwd="/", timeout=240
    )
    assert process.returncode == 0, process.stderr
    return {name: dict(np.load(root / name / "out.npz")) for name in CASES}


def assert_same_actions(name, found, expected, noise):
    """Check that actions of a Box agree within 1e-5 (1 + |mean| + |action - mean|), and choices whose score leads by 1e-4.

    Without noise, the action is the mean. These are the bounds of docs/tutorials/deploy.md.
    """
    pi, obs, _ = build(name)
    pdtype, flat = pi.pdtype, pi.pd(obs).flat.numpy()
    assert len(np.unique(expected)) > 1
    if isinstance(pdtype, DiagGaussianPdType):
        mean = pdtype.mode(NumpyOperators, flat)
        assert np.max(np.abs(found - expected) / (1 + np.abs(mean) + np.abs(expected - mean))) <= 1e-5
    else:
        clear = decided(pdtype, flat + noise, 1e-4)
        assert clear.mean() > 0.98
        np.testing.assert_array_equal(found[clear], expected[clear])


@every_case
def test_act_returns_the_actions_and_values_of_the_policy(served, name):
    (pi, obs, _), found = build(name), served[name]
    ac, vpred = pi.act(False, obs)
    assert_same_actions(name, found["act_action"], ac, 0.0)
    # outputs of up to 20, each a sum of up to 100 products: about 100 float32 roundings of 2^-24 of it
    np.testing.assert_allclose(found["act_value"], vpred, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found["act_flatparam"], pi.pd(obs).flat.numpy(), rtol=0, atol=1e-4)


@every_case
def test_sample_returns_the_actions_of_the_policy_for_the_same_noise(served, name):
    pi, obs, noise = build(name)
    sampled = pi.pdtype.sample(NumpyOperators, pi.pd(obs).flat.numpy(), noise)
    assert_same_actions(name, served[name]["sample_action"], sampled, noise)


@every_case
def test_names_and_dtypes_are_those_of_a_saved_model(served, name):
    pi, obs, noise = build(name)
    functions = policy_functions(pi)[1]
    tensors = {key: tf.constant(x[:1]) for key, x in SAVED_MODELS[name][-1](obs).items()}
    for signature, more in ("act", {}), ("sample", {"noise": tf.constant(noise[:1])}):
        expected = functions[signature](**tensors, **more)
        found = {key: x for key, x in served[name].items() if key.startswith(f"{signature}_")}
        assert {key: x.dtype for key, x in found.items()} == {
            f"{signature}_{key}": x.dtype.as_numpy_dtype for key, x in expected.items()
        }
        assert {key: x.shape[1:] for key, x in found.items()} == {
            f"{signature}_{key}": x.shape[1:] for key, x in expected.items()
        }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return (policy, file of `act`, what the command printed) of a policy file that the command exported."""
    folder = tmp_path_factory.mktemp("exported")
    pi = build("box_of_float64")[0]
    pi.save(folder / "policy.safetensors", env="Robot-v1", env_kwargs={"legs": 4}, timesteps=5)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert export.main([str(folder), str(folder / "deep" / "model.onnx")]) == 0
    return pi, folder / "deep" / "model.onnx", printed.getvalue()


def test_the_command_writes_valid_models_for_batches_of_any_size(exported):
    import onnx

    pi, path, _ = exported
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.onnx", "model.sample.onnx"]
    for file, names in (path, ["observation"]), (sample_path(path), ["observation", "noise"]):
        model = onnx.load(file)
        onnx.checker.check_model(model, full_check=True)
        assert [x.name for x in model.graph.input] == names
        for value in (*model.graph.input, *model.graph.output):
            assert value.type.tensor_type.shape.dim[0].dim_param == "N"


def test_metadata_name_environment_spaces_and_version(exported):
    import onnxruntime

    pi, path, _ = exported
    for file, signature in (path, "act"), (sample_path(path), "sample"):
        found = onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map
        spaces = [from_json(json.loads(found.pop(key))) for key in ("observation_space", "action_space")]
        assert spaces == [BOX, TORQUES]
        assert found == {
            "baselines_ppo": baselines_ppo.__version__,
            "policy": "MlpPolicy",
            "signature": signature,
            "env": "Robot-v1",
            "env_kwargs": '{"legs": 4}',
        }


def test_the_printed_lines_load_and_act(exported):
    pi, path, printed = exported
    assert str(path) in printed and str(sample_path(path)) in printed
    namespace = {}
    exec("\n".join(printed.splitlines()[-3:]).replace("print(", "found = ("), namespace)
    ac = pi.act(False, np.zeros((1, 5)))[0]
    clipped = np.clip(ac, pi.ac_space.low, pi.ac_space.high)
    assert np.max(np.abs(namespace["found"] - clipped) / (1 + np.abs(ac))) <= 1e-5


def test_an_existing_file_of_sampled_actions_is_not_overwritten(tmp_path):
    (tmp_path / "model.sample.onnx").write_text("mine")
    with pytest.raises(baselines_ppo.UserError, match="model.sample.onnx exists"):
        export_onnx(build("box_of_float64")[0], tmp_path / "model.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["model.sample.onnx"]


def test_the_programs_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = DOCS / "tutorials" / "deploy.md"
    programs = [x.text for x in blocks(page) if x.language == "python" and x.not_run == "needs the extra onnx"]
    assert len(programs) == 2
    import gymnasium as gym

    env = gym.make("Pendulum-v1")
    namespace = {"pi": MlpPolicy("pi", env.observation_space, env.action_space, hid_size=4)}
    for program in programs:
        exec(program, namespace)
