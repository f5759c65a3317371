"""`learn(run_dir=..., progress=True)`: what a run from Python writes and shows, and that it changes no bit of it."""
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

from baselines_ppo import UserError, learn, load_policy, plot, vpg
from baselines_ppo.config_files import typed_from
from baselines_ppo.going_on import read_previous
from baselines_ppo.play import load_with_env
from common import mpi
from common.folder_lock import is_held
from common.monitor import Monitor
from common.run_data import Run
from common.vec_env import InProcessVectorEnv

SMALL = {"timesteps_per_actorbatch": 256, "optim_batchsize": 64, "optim_epochs": 1, "max_iters": 3, "seed": 0}


def train(env=None, **kwargs):
    return learn(env or gym.make("CartPole-v1"), uncompiled, **SMALL | kwargs)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """(the policy, its run's folder)."""
    folder = tmp_path_factory.mktemp("recorded") / "runs" / "mine"
    return train(run_dir=folder, checkpoint_every=2, clip_param=0.1, seed=np.int64(0), standardise_adv=np.True_), folder


def test_a_run_from_python_leaves_what_plot_report_and_load_policy_read(recorded, tmp_path, capsys):
    pi, folder = recorded
    run = Run(folder)
    assert run.env == "CartPole-v1" and run.column("steps").tolist() == [256, 512, 768] and run.monitors == [folder / "0.0.monitor.csv"]
    for name, x in load_policy(folder).state().items():
        np.testing.assert_array_equal(x, pi.state()[name])
    assert load_with_env(folder)[2] == load_with_env(folder / "checkpoints" / "ckpt-00000002.safetensors")[2] == "CartPole-v1"
    assert plot.main([str(folder), "--out", str(tmp_path / "x.png")]) == 0
    assert "│ learn()" in capsys.readouterr().out
    page = page_of(folder)
    assert "--play" in page.text and "--resume" not in page.text and (folder / "curve.png").exists()
    assert (folder / "best/policy.safetensors").exists() and list((folder / "tb").glob("events.*"))


def test_its_config_has_every_setting_and_says_which_are_not_the_defaults(recorded):
    config = json.loads((recorded[1] / "config.json").read_text())
    assert config["typed"] == {"env": "CartPole-v1", "policy": "mlp", "seed": 0, "hid_size": 8} | {
        "clip_param": 0.1, "timesteps_per_actorbatch": 256, "optim_epochs": 1}
    assert config["averaging"] == {"policy and value": "gather"}
    settings = config["settings"]
    assert (settings["alg"], settings["gamma"], settings["max_iters"], settings["policy_settings"]["num_hid_layers"]) == ("ppo", 0.99, 3, 2)


def test_what_is_imported_to_record_a_run_sets_nothing_in_the_process():
    code = "import os\nbefore = dict(os.environ)\nimport baselines_ppo.recording, baselines_ppo.outputs, baselines_ppo.evaluations, baselines_ppo.report\n" \
           "print({name for name in os.environ.keys() | before.keys() if os.environ.get(name) != before.get(name)})"
    environ = {name: x for name, x in os.environ.items() if not name.endswith("_NUM_THREADS")}
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=jobs.ROOT, env=environ).stdout == "set()\n"


def test_the_command_line_says_that_it_cannot_go_on_with_it_nor_take_its_settings(recorded):
    for ask in (lambda: read_previous(recorded[1], mpi.world(), may_start=False), lambda: typed_from(recorded[1] / "config.json", {}, 1)):
        with pytest.raises(UserError, match="is learn\\(\\)'s, from Python, whose environment and policy the command line does not have; start it again from"):
            ask()


def test_a_run_that_is_recorded_is_the_run_that_is_not_to_the_bit(tmp_path, capsys):
    plain, found = train(), train(run_dir=tmp_path / "run", progress=True)
    for name, x in plain.state().items():
        np.testing.assert_array_equal(found.state()[name], x, err_msg=name)
    assert re.search(r"100%  \d:\d\d:\d\d", capsys.readouterr().out)
    train()
    assert capsys.readouterr().out == ""


def test_a_folder_that_has_a_run_is_refused_and_one_is_made_for_none_that_cannot_be(recorded, tmp_path):
    with pytest.raises(UserError, match="already holds a run; choose another run_dir"):
        train(run_dir=recorded[1])
    for wrong, part in (({"callback": 3}, "is no callback"), ({"logger": Rows()}, "leave logger= out"), ({"gamma": 2}, "gamma"),
                        ({"timesteps_per_actorbatch": 10}, "optim_batchsize")):
        with pytest.raises(UserError, match=part):
            train(run_dir=tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()


def test_a_run_that_fails_lets_go_of_its_folder_and_keeps_its_rows(tmp_path):
    def fails(locals_, globals_):
        if locals_["iters_so_far"] == 1:
            raise RuntimeError("mine")
    with pytest.raises(RuntimeError, match="mine"):
        train(run_dir=tmp_path / "run", callback=fails)
    assert not is_held(tmp_path / "run") and not (tmp_path / "run/policy").exists()
    assert len(list(csv.DictReader((tmp_path / "run/progress.csv").open()))) == 1


def test_environments_of_any_kind_are_recorded(tmp_path, capsys):
    space = gym.spaces.Discrete(3)  # without an id, and by another algorithm
    vpg.learn(Identity(space), uncompiled, timesteps_per_actorbatch=200, vf_batchsize=50, max_iters=1, seed=0, run_dir=tmp_path / "own")
    assert Run(tmp_path / "own").episodes.lengths.tolist() == [100, 100]
    env = InProcessVectorEnv([Monitor(Identity(space)) for _ in range(2)])
    train(env, run_dir=str(tmp_path / "monitored"), max_iters=2)
    assert [path.name for path in Run(tmp_path / "monitored").monitors] == ["0.0.monitor.csv", "0.1.monitor.csv"]
    assert Run(tmp_path / "monitored").episodes.lengths.tolist() == [100] * 4
    train(gym.make_vec("CartPole-v1", 2), run_dir=tmp_path / "vector", max_iters=1)  # whose environments nobody can reach
    assert plot.main([str(tmp_path / "vector"), "--out", str(tmp_path / "x.png")]) == 0
    assert "without Monitor files returns are the means of its progress.csv" in capsys.readouterr().err
