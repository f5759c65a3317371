"""Exported policies act as the policy does, in a process that has TensorFlow and nothing of this package."""

import contextlib
import functools
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import exact_networks
import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from export_spaces import BOX, BOX32, IMAGES, ROWS, TASK, TORQUES, draw
from jobs import run
from small_policies import trained
from tolerance import ulps

from baselines_ppo import CnnPolicy, MlpPolicy, Policy, UserError
from baselines_ppo.export import command as export
from baselines_ppo.export import export_litert, export_saved_model
from baselines_ppo.export.graph import policy_functions
from common.distributions import BernoulliPdType, DiagGaussianPdType, MultiCategoricalPdType, NumpyOperators
from common.running_mean_std import RunningMeanStd

BARE = """
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
        outs = {f"act_{name}": x for name, x in signatures["act"](**{name: tf.constant(x) for name, x in inputs.items()}).items()}
        tensors = {name: tf.constant(x) for name, x in (inputs | {"noise": noise}).items()}
        outs |= {f"sample_{name}": x for name, x in signatures["sample"](**tensors).items()}
    np.savez(case / "out.npz", **outs)
    if (case / "printed.py").exists():
        with open(case / "printed.txt", "w") as file, contextlib.redirect_stdout(file):
            exec((case / "printed.py").read_text())
assert not {"baselines_ppo", "common"} & {name.split(".")[0] for name in sys.modules}
"""


class Own(Policy):
    """A policy of a user's own: a linear one, on the signs of what it sees."""

    def __init__(self, name, ob_space, ac_space):
        super().__init__(name, ob_space, ac_space)
        n = self.encoder.shape[0]
        self.w, self.v = tf.Variable(tf.zeros([n, *self.pdtype.param_shape()])), tf.Variable(tf.zeros([n, 1]))

    def forward(self, ob):
        ob = tf.cast(ob, tf.float32)
        return ob @ self.w, (ob @ self.v)[:, 0]


class OwnFilter(Own):
    """With a filter, as docs/policies.md has it."""

    def __init__(self, *args):
        super().__init__(*args)
        self.ob_rms = RunningMeanStd(self.encoder.shape)

    def prepare(self, ob):
        return self.ob_rms.normalise(ob, clip=5.0)


class OwnSigns(Own):
    def prepare(self, ob):
        return np.sign(ob - 1e3)

    def prepare_tensor(self, ob):
        return tf.sign(ob - 1e3)


def whole(ob):
    return {"observation": ob}


def of_the_task(ob):
    return {
        "observation_arm_0": ob["arm"][0],
        "observation_arm_1": ob["arm"][1],
        "observation_grip": ob["grip"],
        "observation_lamp_on": ob["lamp on"],
        "observation_eye": ob["eye"],
    }


# name: (policy, observation space, action space, settings, tensors by the names that docs/export.md gives them)
SAVED_MODELS = {
    "box_of_float64": (MlpPolicy, BOX, TORQUES, {}, whole),
    "matrices": (
        MlpPolicy,
        BOX32,
        gym.spaces.Box(-1, 1, (2, 2)),
        {"gaussian_fixed_var": False, "shared_trunk": True},
        whole,
    ),
    "number": (MlpPolicy, gym.spaces.Box(-np.inf, np.inf, ()), gym.spaces.Box(-1, 1, ()), {"ob_clip": 2.0}, whole),
    "discrete": (
        MlpPolicy,
        gym.spaces.Discrete(9, start=3),
        gym.spaces.Discrete(4, start=-2),
        {"normalise_ob": False},
        whole,
    ),
    "dict": (MlpPolicy, TASK, gym.spaces.MultiDiscrete([[3, 2], [2, 4]], start=[[0, 7], [-1, 0]]), {}, of_the_task),
    "tuple": (
        MlpPolicy,
        gym.spaces.Tuple([BOX32, gym.spaces.MultiBinary([2, 2])]),
        gym.spaces.MultiBinary([2, 3]),
        {},
        lambda ob: {"observation_0": ob[0], "observation_1": ob[1]},
    ),
    "images": (CnnPolicy, IMAGES, gym.spaces.Discrete(6), {"kind": "small"}, whole),
    "trained": (trained, None, None, {}, whole),  # Discrete actions over a Box
    "own_filter": (OwnFilter, BOX, TORQUES, {}, whole),
    "own_prepare": (OwnSigns, BOX, gym.spaces.Discrete(3), {}, whole),
}
LITERT = {
    "lite_box": (MlpPolicy, BOX, TORQUES, {}, whole),
    "lite_factors": (MlpPolicy, BOX32, gym.spaces.MultiDiscrete([[3, 2], [2, 4]], start=[[0, 7], [-1, 0]]), {}, whole),
    "lite_bits": (MlpPolicy, BOX32, gym.spaces.MultiBinary(4), {}, whole),
    "lite_own": (OwnFilter, BOX, gym.spaces.Discrete(4), {}, whole),
    "lite_images": (CnnPolicy, IMAGES, gym.spaces.Discrete(6, start=1), {"kind": "small"}, whole),
}
PRINTED = ("box_of_float64", "lite_box")
every_case = pytest.mark.parametrize("name", [*SAVED_MODELS, *LITERT])


@functools.cache
def build(name):
    """(policy with random weights and a filter that has seen such observations, or a trained one; observations; noise)."""
    cls, ob_space, ac_space, settings, _ = (SAVED_MODELS | LITERT)[name]
    if cls is trained:
        return trained(ROWS)
    rng = np.random.default_rng(1)
    pi = cls("pi", ob_space, ac_space, **settings)
    for v in pi.get_variables():
        v.assign(rng.standard_normal(v.shape) * (0.3 if len(v.shape) == 1 else 3 / np.sqrt(np.prod(v.shape[:-1]))))
    obs = draw(ob_space, np.random.default_rng(2))
    if pi.ob_rms is not None:
        pi.ob_rms.update(pi.encoder.single_or_batch(obs)[0][:500])
    return pi, obs, pi.pdtype.noise(rng, (ROWS,))


@functools.cache
def expected(name):
    """{"action": the most likely, "value", "flatparam"} of a case's policy, by its own methods."""
    pi, obs, _ = build(name)
    ac, vpred = pi.act(False, obs)
    return {
        "action": ac,
        "value": vpred,
        "flatparam": pi.forward(pi.prepare(pi.encoder.single_or_batch(obs)[0]))[0].numpy(),
    }


@functools.cache
def exact(name):
    """{"flatparam", "value"} of a case's policy in float64, each `Bounded` by what float32 may make of it."""
    pi, obs, _ = build(name)
    ob = pi.encoder.single_or_batch(obs)[0]
    if isinstance(pi, CnnPolicy):
        flat, vpred = exact_networks.cnn(pi, ob)
    elif isinstance(pi, MlpPolicy):
        # LiteRT's filter is in float32: four roundings, of numbers up to the clip of 5, and one of the mean's rest
        flat, vpred = exact_networks.mlp(pi, ob, input_ulps=3 if name in LITERT else 0.5)
    else:
        x = np.float64(pi.prepare(ob))
        x = exact_networks.Bounded(x, ulps(3, np.maximum(np.abs(x), 1)))
        flat, vpred = (exact_networks.dense(x, w.numpy().astype(np.float64), 0.0) for w in (pi.w, pi.v))
        vpred = vpred.at(slice(None), 0)
    # of numbers up to 10; weights that are another policy's, or a filter that is left out, make 1 and more
    assert max(flat.error.max(), vpred.error.max()) < 0.01
    return {"flatparam": flat, "value": vpred}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """{case: {output: array}} of all cases, loaded and served by one bare process, and what the command's three lines print there."""
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
        words = [str(root / name), str(root / name / "deep" / f"again{'.tflite' if name in LITERT else ''}")]
        if name in LITERT:  # a process of its own costs seconds
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                assert export.main(words) == 0
            printed = printed.getvalue()
        else:
            done = run(1, "-m", "baselines_ppo.export", *words)
            assert done.returncode == 0 and not done.stderr, done.stderr
            printed = done.stdout
        (root / name / "printed.py").write_text("\n".join(printed.splitlines()[-3:]))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "TF_CPP_MIN_LOG_LEVEL": "3"
    }
    bare = subprocess.run(
        [sys.executable, "-I", "-c", BARE, str(root)],
        capture_output=True,
        text=True,
        cwd="/",
        env=environment,
        timeout=240,
    )
    assert bare.returncode == 0, bare.stderr
    texts = {name: (root / name / "printed.txt").read_text() for name in PRINTED}
    return {name: dict(np.load(root / name / "out.npz")) for name in (*SAVED_MODELS, *LITERT)} | {"printed": texts}


def decided(pdtype, scores, lead):
    """Whether the best action of each row, or of each of its entries, leads the next by more than `lead`: [N, *space.shape] bool."""
    if isinstance(pdtype, BernoulliPdType):
        return pdtype.to_space_shape(np.abs(scores) > lead)
    if isinstance(pdtype, MultiCategoricalPdType):
        best = [np.sort(part, -1)[:, -2:] for part in np.split(scores, pdtype.ends[:-1], -1)]
        return pdtype.to_space_shape(np.stack([two[:, 1] - two[:, 0] > lead for two in best], -1))
    two = np.sort(scores, -1)[:, -2:]
    return two[:, 1] - two[:, 0] > lead


def assert_same_actions(name, found, wanted, noise):
    """Actions for noise [N, p], a Gaussian's [N, n]: each side may be off by the error of its network, and a choice where its scores lie closer."""
    pdtype, flat = build(name)[0].pdtype, exact(name)["flatparam"]
    assert len(np.unique(wanted)) > 1
    if isinstance(pdtype, DiagGaussianPdType):
        exact_networks.assert_within(found, exact_networks.gaussian_sample(pdtype, flat, noise))
        exact_networks.assert_within(wanted, exact_networks.gaussian_sample(pdtype, flat, noise))
    else:
        clear = decided(pdtype, flat.value + noise, 2 * flat.error.max() + ulps(2, np.abs(flat.value + noise).max()))
        assert clear.mean() > 0.98
        np.testing.assert_array_equal(found[clear], wanted[clear])


@every_case
def test_act_gives_the_policys_most_likely_actions(served, name):
    assert_same_actions(name, served[name]["act_action"], expected(name)["action"], 0.0)


@every_case
def test_sample_gives_the_policys_actions_for_the_same_noise(served, name):
    (pi, _, noise), flat = build(name), expected(name)["flatparam"]
    wanted = pi.pdtype.sample(NumpyOperators, flat, noise)
    assert_same_actions(name, served[name]["sample_action"], wanted, noise)


@every_case
@pytest.mark.parametrize("output", ["value", "flatparam"])
def test_value_and_flatparam_are_the_policys(served, name, output):
    exact_networks.assert_within(served[name][f"act_{output}"], exact(name)[output])
    exact_networks.assert_within(expected(name)[output], exact(name)[output])


@every_case
def test_actions_are_of_the_action_space(served, name):
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
    """They print the action at an observation of zeros, to the eight digits that NumPy prints."""
    pi = build(name)[0]
    mean = exact_networks.mlp(pi, np.zeros((1, 5)), input_ulps=3 if name in LITERT else 0.5)[0].at(0, slice(3))
    numbers = [float(x) for x in re.findall(r"-?\d+\.?\d*(?:e[-+]\d+)?", served["printed"][name].split("shape=")[0])]
    mean = exact_networks.Bounded(np.clip(mean.value, pi.ac_space.low, pi.ac_space.high), mean.error)
    exact_networks.assert_within(numbers, mean, beside=1e-7 * np.abs(mean.value))


def test_serving_default_takes_any_number_of_observations(tmp_path):
    pi, obs, _ = build("box_of_float64")
    serve = tf.saved_model.load(str(export_saved_model(pi, tmp_path / "model"))).signatures["serving_default"]
    for rows in (1, 7):
        exact_networks.assert_within(
            serve(observation=tf.constant(obs[:rows]))["action"],
            exact("box_of_float64")["flatparam"].at(slice(rows), slice(3)),
        )


def test_the_policy_in_a_file_does_not_follow_the_one_in_memory(tmp_path):
    pi, obs, _ = build.__wrapped__("box_of_float64")
    path = export_saved_model(pi, tmp_path / "model")
    for v in pi.get_variables():
        v.assign(tf.zeros_like(v))
    acted = tf.saved_model.load(str(path)).signatures["act"](observation=tf.constant(obs))["action"]
    exact_networks.assert_within(
        acted, exact("box_of_float64")["flatparam"].at(slice(None), slice(3))
    )  # of the weights that it had


@pytest.mark.parametrize("name", ["box_of_float64", "own_filter", "lite_own"])
def test_exporting_leaves_the_policy_its_filter(name):
    pi = build(name)[0]
    ob_rms = pi.ob_rms
    policy_functions(pi, batch=1, float32_only=name in LITERT)
    assert pi.ob_rms is ob_rms


# ---- what is refused


class OwnNumpy(Own):
    def prepare(self, ob):
        return np.sign(ob)


class OwnOther(Own):
    def prepare(self, ob):
        return 2 * ob

    def prepare_tensor(self, ob):
        return 3 * ob


class OwnGamma(Own):
    def forward(self, ob):
        flat, vpred = super().forward(ob)
        return tf.math.igamma(1.0, tf.abs(flat)), vpred


@pytest.mark.parametrize(
    "policy, wanted",
    [
        (OwnNumpy, "OwnNumpy.prepare works on NumPy arrays only .*also define prepare_tensor"),
        (OwnOther, "OwnOther prepares observations differently in TensorFlow, for export, and in NumPy"),
    ],
)
def test_a_prepare_that_tensorflow_cannot_follow_is_refused(policy, wanted, tmp_path):
    with pytest.raises(UserError, match=wanted):
        export_saved_model(policy("pi", BOX, TORQUES), tmp_path / "model")
    assert not any(tmp_path.iterdir())


def test_what_litert_cannot_compute_is_named(tmp_path):
    with pytest.raises(UserError, match="OwnGamma computes .*Igamma.*LiteRT has no kernel") as error:
        export_litert(OwnGamma("pi", BOX, TORQUES), tmp_path / "model.tflite")
    assert "\n" not in str(error.value) and not any(tmp_path.iterdir())


@pytest.mark.parametrize("write", [export_saved_model, export_litert])
def test_nothing_is_overwritten(write, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("mine")
    for path in (tmp_path / "folder", tmp_path / "folder" / "file"):
        with pytest.raises(UserError, match="exists"):
            write(build("box_of_float64")[0], path)
    assert (tmp_path / "folder" / "file").read_text() == "mine"


def test_an_empty_folder_and_an_empty_file_are_filled(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    pi = build("box_of_float64")[0]
    assert (export_saved_model(pi, tmp_path / "folder") / "saved_model.pb").is_file()
    assert export_litert(pi, tmp_path / "file").stat().st_size > 1000


def test_a_crash_leaves_nothing(tmp_path, monkeypatch):
    def crash(module, folder, **kwargs):
        (Path(folder) / "saved_model.pb").write_text("half")
        raise RuntimeError("power cut")

    monkeypatch.setattr(tf.saved_model, "save", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        export_saved_model(build("box_of_float64")[0], tmp_path / "model")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "policy, out, wanted",
    [
        (None, "out", "no policy found"),
        (OwnSigns, "out", "holds a OwnSigns"),
        (MlpPolicy, "", "exists"),
        (MlpPolicy, "policy.safetensors/out", "cannot write"),
        ("dict", "out.tflite", "LiteRT export, which takes one tensor"),
        (MlpPolicy, "out --format onnx", "invalid choice: 'onnx'"),
    ],
)
def test_the_command_line_refuses_in_one_line(policy, out, wanted, tmp_path, capsys):
    if policy is not None:
        pi = build("dict")[0] if policy == "dict" else policy("pi", BOX, TORQUES)
        pi.save(tmp_path / "policy.safetensors")
    path, *words = out.split(" ")
    assert export.main([str(tmp_path), str(tmp_path / path), *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and re.match(rf"python -m baselines_ppo\.export: error: .*{wanted}", lines[0])
