"""Evaluation during training and the best policy: their files; training is bit-identical without them."""

import csv
import json
import os
from types import SimpleNamespace

import jobs
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util import tensor_util

from baselines_ppo import load_policy
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.config.settings import PPOSettings
from baselines_ppo.experiment.callbacks import EvalCallback
from baselines_ppo.experiment.summary import interval_warnings
from common.runs.checkpoint_store import FORMAT
from common.storage.array_files import load_arrays

WORDS = (
    "--env",
    "CartPole-v1",
    "--max-iters",
    "4",
    "--num-envs",
    "1",
    "--schedule",
    "constant",
    "--timesteps-per-actorbatch",
    "256",
    "--checkpoint-every",
    "2",
    "--report",
    "false",
)


def train(folder, *words):
    assert jobs.main_here(*WORDS, "--run-dir", folder, *words) == 0


def last_checkpoint(folder):
    return load_arrays(folder / "checkpoints/ckpt-00000004.safetensors", FORMAT)[0]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    train(folder, "--eval-every", "1", "--eval-episodes", "3", "--histograms")
    return folder


def test_every_evaluation_is_a_row_and_the_best_policy_is_saved(evaluated):
    rows = list(csv.DictReader((evaluated / "evaluations.csv").open()))
    assert [int(row["Iteration"]) for row in rows] == [1, 2, 3, 4]
    scores = [float(row["EvalRewMean"]) for row in rows]
    metadata = load_arrays(evaluated / "best/policy.safetensors", "baselines_ppo.policy")[1]
    assert metadata["score"] == max(scores)
    assert metadata["timesteps"] == int(rows[int(np.argmax(scores))]["TimestepsSoFar"])
    assert metadata["env"] == "CartPole-v1"
    load_policy(evaluated / "best/policy.safetensors")


def test_tensorboard_has_every_setting_and_the_requested_histograms(evaluated):
    events = EventAccumulator(str(evaluated / "tb"), size_guidance={"tensors": 0})
    events.Reload()
    plugin = HParamsPluginData.FromString(events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    found = {
        name: getattr(value, value.WhichOneof("kind")) for name, value in plugin.session_start_info.hparams.items()
    }
    settings = json.loads((evaluated / "config.json").read_text())["settings"]
    assert found == {
        name: value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
        for name, value in settings.items()
    }
    pi = load_policy(evaluated)
    sizes = {f"weights/{v.name.split(':')[0]}": v.numpy().size for v in pi.get_variables()} | {
        "segment/actions": 256,
        "segment/advantages": 256,
    }
    for name, size in sizes.items():
        histograms = events.Tensors(name)
        # checkpoints, after two and four iterations of 256 steps
        assert [event.step for event in histograms] == [
            512,
            1024,
        ]
        for event in histograms:
            counts = tensor_util.make_ndarray(event.tensor_proto)[:, 2]  # a bucket is (left, right, count)
            assert counts.sum() == size


def test_run_with_evaluations_and_histograms_is_bit_identical_to_one_without(evaluated, tmp_path):
    train(tmp_path / "plain")
    for name, x in last_checkpoint(tmp_path / "plain").items():
        np.testing.assert_array_equal(last_checkpoint(evaluated)[name], x, err_msg=name)


def test_without_evaluations_the_best_policy_has_the_highest_mean_return_at_a_checkpoint(tmp_path):
    train(tmp_path / "run")
    rows = list(csv.DictReader((tmp_path / "run/progress.csv").open()))
    best = max(float(row["EpRewMean"]) for row in rows[1::2])  # the last row is that of the end
    assert load_arrays(tmp_path / "run/best/policy.safetensors", "baselines_ppo.policy")[1]["score"] == best


def test_resumed_run_keeps_the_best_policy_of_all_its_parts(evaluated, tmp_path, cli_here):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(evaluated, folder)
    done = cli_here("--run-dir", folder, "--resume", "--max-iters", "6")
    assert done.returncode == 0, done.stderr
    scores = [float(row["EvalRewMean"]) for row in csv.DictReader((folder / "evaluations.csv").open())]
    assert len(scores) == 6
    assert load_arrays(folder / "best/policy.safetensors", "baselines_ppo.policy")[1]["score"] == max(scores)


def test_final_policy_is_evaluated_and_a_resumed_run_discards_that_row(tmp_path, cli_here, uncompiled_here):
    folder, rows = (
        tmp_path / "run",
        lambda: [row["Iteration"] for row in csv.DictReader((tmp_path / "run/evaluations.csv").open())],
    )
    done = cli_here(*WORDS, "--run-dir", folder, "--eval-every", "3", "--eval-episodes", "2")
    assert done.returncode == 0 and "--eval-every" not in done.stdout
    assert rows() == ["3", "4"]
    done = cli_here("--run-dir", folder, "--resume", "--max-iters", "5")
    assert done.returncode == 0 and rows() == ["3", "5"]


def test_run_that_ends_before_its_first_evaluation_warns_and_evaluates_its_final_policy(
    tmp_path, cli_here, uncompiled_here
):
    folder = tmp_path / "run"
    done = cli_here(*WORDS, "--run-dir", folder, "--eval-every", "50", "--eval-episodes", "2", "--max-iters", "1")
    assert (
        "--eval-every 50 iterations: the run ends after about 1, so only the final policy is evaluated\n" in done.stdout
    )
    (row,) = csv.DictReader((folder / "evaluations.csv").open())
    assert row["Iteration"] == "1"
    assert load_arrays(folder / "best/policy.safetensors", "baselines_ppo.policy")[1]["score"] == float(
        row["EvalRewMean"]
    )


@pytest.mark.parametrize(
    "changed, expected",
    [
        ({}, []),
        (
            {"eval_every": 9},
            ["--eval-every 9 iterations: the run ends after about 8, so only the final policy is evaluated"],
        ),
        ({"checkpoint_every": 9}, []),
        ({"checkpoint_every": 8, "histograms": True}, []),
        (
            {"checkpoint_every": 9, "histograms": True},
            ["--checkpoint-every 9 iterations: the run ends after about 8, so --histograms writes none"],
        ),
        ({"num_timesteps": None, "max_seconds": 5.0, "eval_every": 9}, []),
        ({"max_iters": 20, "eval_every": 9}, []),
    ],
)
def test_intervals_longer_than_the_run_are_reported_at_its_start(changed, expected):
    run = RunSettings(**{"num_timesteps": 4096, "eval_every": 8, "checkpoint_every": 25} | changed)
    config = ResolvedConfig(run, PPOSettings(timesteps_per_actorbatch=256), {})
    assert interval_warnings(config, ranks=2) == expected


def test_final_policy_is_not_evaluated_after_a_signal():
    def never():
        raise AssertionError

    def training(iterations, stop_requested):
        return SimpleNamespace(iters_so_far=iterations, stop_requested=stop_requested, comm=SimpleNamespace(rank=0))

    evaluations = EvalCallback(never, 2, 1, never, best=None)
    evaluations.on_training_end(training(3, 15))
    evaluations.on_training_end(training(4, None))  # evaluated already
    with pytest.raises(AssertionError):
        evaluations.on_training_end(training(3, "callback"))


def test_two_ranks_evaluate_once(tmp_path):
    done = jobs.run(
        2, jobs.RUN_UNCOMPILED, *WORDS, "--run-dir", tmp_path / "run", "--eval-every", "2", "--eval-episodes", "2"
    )
    assert done.returncode == 0, done.stderr
    assert [row["Iteration"] for row in csv.DictReader((tmp_path / "run/evaluations.csv").open())] == ["2", "4"]


def test_checkpoint_and_policy_play_the_same_episodes(evaluated, cli_here):
    found = {}
    for path in (evaluated, evaluated / "checkpoints/ckpt-00000004.safetensors", evaluated / "policy"):
        done = cli_here(
            "--play", "--load-path", path, "--eval-episodes", "5", "--deterministic", "--json", "--env", "CartPole-v1"
        )
        assert done.returncode == 0, done.stderr
        found[path] = json.loads(done.stdout)
    first, *others = (one["returns"] for one in found.values())
    assert all(returns == first for returns in others) and len(first) == 5


def test_killed_run_without_a_final_policy_is_played_from_its_latest_checkpoint(evaluated, tmp_path, cli_here):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(evaluated, folder)
    shutil.rmtree(folder / "policy")
    done = cli_here("--play", "--load-path", folder, "--eval-episodes", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["policy"].endswith("ckpt-00000004.safetensors")


def test_play_without_a_display_writes_a_video(evaluated, tmp_path):
    from PIL import Image

    headless = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = jobs.run(
        1, jobs.RUN, "--play", "--load-path", evaluated / "best/policy.safetensors", cwd=tmp_path, env=headless
    )
    assert done.returncode == 0 and "10 stochastic episodes" in done.stdout, done.stderr
    assert Image.open(tmp_path / "play.gif").n_frames > 3
