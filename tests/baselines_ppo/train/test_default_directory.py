"""The directory of a run that is not given one, and the cores of a rank."""

import re
from types import SimpleNamespace

import pytest

from baselines_ppo.cli.parser import parse
from baselines_ppo.experiment.directory import acquire_run_directory, make_default_run_directory
from baselines_ppo.experiment.setup import cores_per_rank
from baselines_ppo.train.plan import plan_run
from common.distributed.communicator import Communicator, world
from common.errors import UserError


def test_runs_go_into_the_directory_of_the_environment_variable(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BASELINES_PPO_RUNS", raising=False)
    assert make_default_run_directory("CartPole-v1", 0).startswith("runs/CartPole-v1/")
    monkeypatch.setenv("BASELINES_PPO_RUNS", f"{tmp_path}/elsewhere")
    found = make_default_run_directory("CartPole-v1", 3)
    assert found.startswith(f"{tmp_path}/elsewhere/CartPole-v1/") and found.endswith("-seed3")


def test_runs_with_one_seed_in_one_second_get_different_directories(tmp_path, monkeypatch):
    monkeypatch.setenv("BASELINES_PPO_RUNS", str(tmp_path))
    monkeypatch.setattr("time.strftime", lambda form: "20200101-000000")
    directories = [
        tmp_path / "CartPole-v1" / name
        for name in ("20200101-000000-seed0", "20200101-000000-seed0-2", "20200101-000000-seed0-3")
    ]
    assert [make_default_run_directory("CartPole-v1", 0) for _ in directories] == [str(path) for path in directories]
    assert [acquire_run_directory(path, Communicator(None), False, 3).path for path in directories] == directories


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda runs: runs.touch(), "Not a directory"),
        (lambda runs: runs.symlink_to("nowhere"), "No such file or directory"),
    ],
)
def test_an_unusable_directory_of_runs_is_refused_in_one_line(make, reason, tmp_path, monkeypatch, cli_here):
    monkeypatch.setenv("BASELINES_PPO_RUNS", f"{tmp_path}/runs")
    make(tmp_path / "runs")
    done = cli_here("--env", "CartPole-v1", "--max-iters", "1")
    path = rf"{tmp_path}/runs/CartPole-v1/\S+-seed0"
    message = f"run.py: error: cannot write to run directory {path}: {reason}; choose another --run-dir\n"
    assert done.returncode == 2 and re.fullmatch(message, done.stderr)


@pytest.mark.parametrize(
    "words, status", [(["--print-config"], 0), (["--load-path", "nowhere"], 2), (["--hid-size", "1000000000"], 2)]
)
def test_no_directory_is_made_if_no_run_starts(words, status, tmp_path, monkeypatch, cli_here):
    monkeypatch.setenv("BASELINES_PPO_RUNS", str(tmp_path / "runs"))
    assert cli_here("--env", "CartPole-v1", *words).returncode == status
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "others, cores", [([], 8), ([list(range(8))], 4), ([list(range(8, 16))], 8), ([list(range(8))] * 15, 1)]
)
def test_cores_are_divided_among_the_ranks_that_share_them(others, cores, monkeypatch):
    monkeypatch.setattr("baselines_ppo.experiment.setup.cpu_affinity", lambda: list(range(8)))
    assert cores_per_rank(SimpleNamespace(gather_on_host=lambda own: [own, *others], minimum=lambda x: x)) == cores


def test_directory_with_another_run_is_refused_by_the_plan_which_precedes_tensorflow(tmp_path):
    (tmp_path / "config.json").write_text('{"mine": 1}')
    explicit, args = parse(["--env", "CartPole-v1", "--run-dir", str(tmp_path)])
    with pytest.raises(UserError, match="already contains a run"):
        plan_run(explicit, args, world(), 1)
    explicit, args = parse(["--env", "CartPole-v1", "--run-dir", str(tmp_path), "--print-config"])
    assert plan_run(explicit, args, world(), 1).config.run.run_dir == str(tmp_path)
