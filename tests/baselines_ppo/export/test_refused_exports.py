"""Exports that are refused: policies, paths and command lines."""

import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tensorflow as tf
from export_policies import CustomPolicy, SignPolicy, build, require_onnx
from export_spaces import BOX, TORQUES

from baselines_ppo import MlpPolicy, UserError
from baselines_ppo.export import command as export
from baselines_ppo.export import export_litert, export_onnx, export_saved_model, onnx_models
from baselines_ppo.export.targets import ONNX_PACKAGES


class NumpyOnlyPolicy(CustomPolicy):
    def prepare(self, ob):
        return np.sign(ob)


class InconsistentPolicy(CustomPolicy):
    def prepare(self, ob):
        return 2 * ob

    def prepare_tensor(self, ob):
        return 3 * ob


class GammaPolicy(CustomPolicy):
    def forward(self, ob):
        flat, vpred = super().forward(ob)
        return tf.math.igamma(1.0, tf.abs(flat)), vpred


@pytest.mark.parametrize(
    "policy, message",
    [
        (NumpyOnlyPolicy, "NumpyOnlyPolicy.prepare works on NumPy arrays only .*also define prepare_tensor"),
        (
            InconsistentPolicy,
            "InconsistentPolicy prepares observations differently in TensorFlow, for export, and in NumPy",
        ),
    ],
)
def test_a_prepare_that_does_not_work_in_tensorflow_is_refused(policy, message, tmp_path):
    with pytest.raises(UserError, match=message):
        export_saved_model(policy("pi", BOX, TORQUES), tmp_path / "model")
    assert not any(tmp_path.iterdir())


def test_operations_that_litert_lacks_are_named(tmp_path):
    with pytest.raises(UserError, match="GammaPolicy computes .*Igamma.*LiteRT has no kernel") as error:
        export_litert(GammaPolicy("pi", BOX, TORQUES), tmp_path / "model.tflite")
    assert "\n" not in str(error.value) and not any(tmp_path.iterdir())


def test_operations_that_onnx_lacks_are_named(tmp_path):
    require_onnx()
    with pytest.raises(UserError, match="GammaPolicy computes Igamma, which ONNX lacks; export a SavedModel") as error:
        export_onnx(GammaPolicy("pi", BOX, TORQUES), tmp_path / "model.onnx")
    assert "\n" not in str(error.value) and not any(tmp_path.iterdir())


def test_an_onnx_model_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    require_onnx()
    original = onnx_models.convert

    def convert(function, specs, *arguments):
        def halved(**inputs):
            return {name: x / 2 if name == "value" else x for name, x in function(**inputs).items()}

        return original(halved, specs, *arguments)

    monkeypatch.setattr(onnx_models, "convert", convert)
    with pytest.raises(UserError, match="output value of MlpPolicy differs between ONNX Runtime and TensorFlow"):
        export_onnx(build("box_of_float64")[0], tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ONNX_PACKAGES)
def test_onnx_export_without_its_extra_is_refused_before_any_work(missing, tmp_path, monkeypatch, capsys):
    for name in ONNX_PACKAGES:
        monkeypatch.setitem(sys.modules, name, None if name == missing else ModuleType(name, None))
        if sys.modules[name] is not None:
            sys.modules[name].__spec__ = ModuleSpec(name, None)
    # the run does not exist either, which would be the next error
    assert export.main([str(tmp_path / "none"), str(tmp_path / "deep" / "model.onnx")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and f"ONNX export needs {missing}; install the extra: pip install -e '.[onnx]'" in lines[0]
    with pytest.raises(UserError, match=missing):
        export_onnx(build("box_of_float64")[0], tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("write", [export_saved_model, export_litert, export_onnx])
def test_nothing_is_overwritten(write, tmp_path):
    if write is export_onnx:
        require_onnx()
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


def test_a_crash_leaves_no_files(tmp_path, monkeypatch):
    def crash(module, folder, **kwargs):
        (Path(folder) / "saved_model.pb").write_text("half")
        raise RuntimeError("power cut")

    monkeypatch.setattr(tf.saved_model, "save", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        export_saved_model(build("box_of_float64")[0], tmp_path / "model")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "policy, out, message",
    [
        (None, "out", "no policy found"),
        (SignPolicy, "out", "holds a SignPolicy"),
        (MlpPolicy, "", "exists"),
        (MlpPolicy, "policy.safetensors/out", "cannot write"),
        ("dict", "out.tflite", "LiteRT export, which takes one tensor"),
        (MlpPolicy, "out --format torch", "invalid choice: 'torch'"),
        (MlpPolicy, "out --serving --format tflite", "--serving writes a SavedModel; leave out --format tflite"),
    ],
)
def test_the_command_line_refuses_in_one_line(policy, out, message, tmp_path, capsys):
    if policy is not None:
        pi = build("dict")[0] if policy == "dict" else policy("pi", BOX, TORQUES)
        pi.save(tmp_path / "policy.safetensors")
    path, *options = out.split(" ")
    assert export.main([str(tmp_path), str(tmp_path / path), *options]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and re.match(rf"python -m baselines_ppo\.export: error: .*{message}", lines[0])
