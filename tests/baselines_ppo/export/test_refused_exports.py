"""Exports that are refused: policies, paths and command lines."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from export_policies import CustomPolicy, SignPolicy, build
from export_spaces import BOX, TORQUES

from baselines_ppo import MlpPolicy, UserError
from baselines_ppo.export import command as export
from baselines_ppo.export import export_litert, export_saved_model


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
        (MlpPolicy, "out --format onnx", "invalid choice: 'onnx'"),
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
