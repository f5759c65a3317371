"""`learn(run_dir=..., progress=True)`: files and display of a run from Python, which is bit-identical without them."""

import csv
import json
import os
import re
import subprocess
import sys

import gymnasium as gym
import jobs
import numpy as np
import pytest
from logs import Rows
from run_pages import page_of
from small_envs import Identity
from small_policies import uncompiled

from baselines_ppo import UserError, learn, load_policy, vpg
from baselines_ppo.config.config_files import load_overrides
from baselines_ppo.play.policy_env import load_policy_and_env
from baselines_ppo.plot import command as plot
from baselines_ppo.train.previous_run import load_previous_run
from common.distributed import communicator
from common.envs.monitor import Monitor
from common.runs.results import RunResults
from common.storage.directory_lock import is_locked
from common.vec_env.in_process import InProcessVectorEnv

SMALL = {"timesteps_per_actorbatch": 256, "optim_batchsize": 64, "optim_epochs": 1, "max_iters": 3, "seed": 0}


def train(env=None, **kwargs):
    return learn(env or gym.make("CartPole-v1"), uncompiled, **SMALL | kwargs)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """(the policy, its run directory)."""
    folder = tmp_path_factory.mktemp("recorded") / "runs" / "mine"
    return train(run_dir=folder, checkpoint_every=2, clip_param=0.1, seed=np.int64(0), standardise_adv=np.True_), folder


def test_plot_report_and_load_policy_read_a_run_from_python(recorded, tmp_path, capsys):
    pi, folder = recorded
    run = RunResults(folder)
    assert (
        run.env == "CartPole-v1"
        and run.column("steps").tolist() == [256, 512, 768]
        and run.monitors == [folder / "0.0.monitor.csv"]
    )
    for name, x in load_policy(folder).state().items():
        np.testing.assert_array_equal(x, pi.state()[name])
    assert (
        load_policy_and_env(folder)[2]
        == load_policy_and_env(folder / "checkpoints" / "ckpt-00000002.safetensors")[2]
        == "CartPole-v1"
    )
    assert plot.main([str(folder), "--out", str(tmp_path / "x.png")]) == 0
    assert "│ learn()" in capsys.readouterr().out
    page = page_of(folder)
    assert "--play" in page.text and "--resume" not in page.text and (folder / "curve.png").exists()
    assert (folder / "best/policy.safetensors").exists() and list((folder / "tb").glob("events.*"))


def test_config_has_every_setting_and_lists_those_that_are_not_defaults(recorded):
    config = json.loads((recorded[1] / "config.json").read_text())
    assert config["typed"] == {"env": "CartPole-v1", "policy": "mlp", "seed": 0, "hid_size": 8} | {
        "clip_param": 0.1,
        "timesteps_per_actorbatch": 256,
        "optim_epochs": 1,
    }
    assert config["averaging"] == {"policy and value": "gather"}
    settings = config["settings"]
    assert (
        settings["alg"],
        settings["gamma"],
        settings["max_iters"],
        settings["policy_settings"]["num_hid_layers"],
    ) == ("ppo", 0.99, 3, 2)


@pytest.mark.parametrize("level", [None, "3"])
def test_importing_the_run_outputs_changes_no_environment_variable_and_prints_nothing(level):
    code = (
        "import os\n"
        "import cv2\n"  # Gymnasium imports it, and it changes LD_LIBRARY_PATH
        "before = dict(os.environ)\n"
        "from common.runtime.tf_import import import_tensorflow_quietly\n"
        "import_tensorflow_quietly()\n"
        "import baselines_ppo.experiment.recording, baselines_ppo.experiment.callbacks, baselines_ppo.report\n"
        "print({name for name in os.environ.keys() | before.keys() if os.environ.get(name) != before.get(name)})"
    )
    environ = {name: x for name, x in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
    environ |= {} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=jobs.ROOT, env=environ)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_command_line_neither_resumes_a_run_from_python_nor_reads_its_settings(recorded):
    for ask in (
        lambda: load_previous_run(recorded[1], communicator.world(), allow_missing=False),
        lambda: load_overrides(recorded[1] / "config.json", {}, 1),
    ):
        with pytest.raises(
            UserError,
            match="was started by learn\\(\\) in Python; the command line cannot continue it. Start it again from",
        ):
            ask()


def test_run_with_outputs_is_bit_identical_to_one_without(tmp_path, capsys):
    plain, found = train(), train(run_dir=tmp_path / "run", progress=True)
    for name, x in plain.state().items():
        np.testing.assert_array_equal(found.state()[name], x, err_msg=name)
    assert re.search(r"100%  \d:\d\d:\d\d", capsys.readouterr().out)
    train()
    assert capsys.readouterr().out == ""


def test_directory_with_a_run_is_refused_and_invalid_arguments_create_none(recorded, tmp_path):
    with pytest.raises(UserError, match="already contains a run; choose another run_dir"):
        train(run_dir=recorded[1])
    for wrong, part in (
        ({"callback": 3}, "invalid callback=3: must be a function"),
        ({"logger": Rows()}, "leave logger= out"),
        ({"gamma": 2}, "gamma"),
        ({"timesteps_per_actorbatch": 10}, "optim_batchsize"),
    ):
        with pytest.raises(UserError, match=part):
            train(run_dir=tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()


def test_failed_run_unlocks_its_directory_and_keeps_its_rows(tmp_path):
    def fails(locals_, globals_):
        if locals_["iters_so_far"] == 1:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        train(run_dir=tmp_path / "run", callback=fails)
    assert not is_locked(tmp_path / "run") and not (tmp_path / "run/policy").exists()
    assert len(list(csv.DictReader((tmp_path / "run/progress.csv").open()))) == 1


class Priced(Identity):
    """Environment with arguments that no file can store."""

    metadata = {"render_modes": ["rgb_array", "human"]}

    def __init__(self, price=None, factor=1, render_mode=None):
        super().__init__(gym.spaces.Discrete(3))
        self.price, self.factor, self.render_mode = price or (lambda r: self.factor * r), factor, render_mode
        assert callable(self.price)

    def step(self, action):
        ob, rew, *rest = super().step(action)
        return ob, self.price(rew), *rest


@pytest.fixture
def priced(monkeypatch):
    monkeypatch.setitem(gym.registry, "Priced-v0", gym.envs.registration.EnvSpec("Priced-v0", entry_point=Priced))


def test_arguments_that_no_file_can_store_are_marked_as_lost_and_play_reports_them(priced, tmp_path, cli_here):
    folder = tmp_path / "run"
    train(
        gym.make("Priced-v0", price=lambda r: 5.0, factor=np.int64(2)), run_dir=folder, checkpoint_every=1, max_iters=1
    )
    settings = json.loads((folder / "config.json").read_text())["settings"]
    assert settings["env_kwargs"] == {"factor": 2} and settings["env_kwargs_lost"] == {"price": "function"}
    for path in (folder, folder / "best/policy.safetensors", folder / "checkpoints/ckpt-00000001.safetensors"):
        done = cli_here("--play", "--load-path", path, "--json")
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
        assert (
            "made with price (a value of type function), which no file can store; give --env-kwargs" in done.stderr
            and """'{"factor": 2}'""" in done.stderr
        )
    for kwargs, most in (("{}", 100), ('{"factor": 3}', 300)):
        done = cli_here("--play", "--load-path", folder, "--json", "--eval-episodes", "1", "--env-kwargs", kwargs)
        assert done.returncode == 0 and 0 < json.loads(done.stdout)["mean"] <= most
    assert page_of(folder).text


def test_array_arguments_do_not_fail_a_run_and_a_window_is_not_recorded(priced, tmp_path):
    table = np.ones(3)
    train(
        gym.make("Priced-v0", price=table.__getitem__, factor=table),
        run_dir=tmp_path / "run",
        max_iters=1,
        callback=lambda locals_, globals_: True,
    )
    assert json.loads((tmp_path / "run/config.json").read_text())["settings"]["env_kwargs_lost"].keys() == {
        "price",
        "factor",
    }
    train(gym.make("Priced-v0", factor=2, render_mode="human"), run_dir=tmp_path / "shown", max_iters=1)
    assert load_policy_and_env(tmp_path / "shown")[3] == {"factor": 2}


@pytest.mark.parametrize("named", ["", ":99"], ids=["no display", "unreachable display"])
def test_window_is_refused_without_a_display(named, recorded, tmp_path, monkeypatch, cli_here):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", named)
    window = ("--env-kwargs", '{"render_mode": "human"}')
    for words in (
        ("--env", "CartPole-v1", "--run-dir", tmp_path / "run"),
        ("--env", "Hopper-v4", "--run-dir", tmp_path / "run"),
        ("--play", "--load-path", recorded[1], "--json"),
    ):
        done = cli_here(*words, *window)
        assert (
            done.returncode == 2
            and "render_mode='human' opens a window" in done.stderr
            and len(done.stderr.splitlines()) == 1
        ), done.stderr
    assert not (tmp_path / "run").exists()


def test_running_statistics_of_a_wrapper_are_reported_at_the_start(caplog, monkeypatch, tmp_path, cli_here):
    train(gym.wrappers.NormalizeReward(gym.make("CartPole-v1")), max_iters=1)
    assert caplog.messages == [
        "learn: the environment has NormalizeReward, whose running statistics are not saved: evaluations and resumed "
        "runs start without them; use scale_returns=True instead, which is saved with the policy and in checkpoints"
    ]
    caplog.clear()
    spec = gym.envs.registration.EnvSpec(
        "Normed-v0", entry_point=lambda: gym.wrappers.NormalizeObservation(Identity(gym.spaces.Discrete(3)))
    )
    monkeypatch.setitem(gym.registry, "Normed-v0", spec)
    done = cli_here(
        "--env",
        "Normed-v0",
        "--run-dir",
        tmp_path / "run",
        "--timesteps-per-actorbatch",
        "64",
        "--optim-batchsize",
        "32",
        "--max-iters",
        "1",
        "--report",
        "false",
    )
    assert (
        done.returncode == 0
        and "NormalizeObservation, whose running statistics are not saved" in done.stdout
        and "--normalise-ob true" in done.stdout
    )
    assert not caplog.messages


def test_outputs_are_written_for_every_kind_of_environment(tmp_path, capsys):
    space = gym.spaces.Discrete(3)  # without an id, and by another algorithm
    vpg.learn(
        Identity(space),
        uncompiled,
        timesteps_per_actorbatch=200,
        vf_batchsize=50,
        max_iters=1,
        seed=0,
        run_dir=tmp_path / "own",
    )
    assert RunResults(tmp_path / "own").episodes.lengths.tolist() == [100, 100]
    env = InProcessVectorEnv([Monitor(Identity(space)) for _ in range(2)])
    train(env, run_dir=str(tmp_path / "monitored"), max_iters=2)
    assert [path.name for path in RunResults(tmp_path / "monitored").monitors] == ["0.0.monitor.csv", "0.1.monitor.csv"]
    assert RunResults(tmp_path / "monitored").episodes.lengths.tolist() == [100] * 4
    # its environments are not accessible
    train(gym.make_vec("CartPole-v1", 2), run_dir=tmp_path / "vector", max_iters=1)
    assert plot.main([str(tmp_path / "vector"), "--out", str(tmp_path / "x.png")]) == 0
    assert "has no Monitor files: its returns are the means in progress.csv" in capsys.readouterr().err
