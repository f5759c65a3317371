"""`~` is expanded in every path, and a path that cannot be written at the end is refused at the start."""

import json

import gymnasium as gym
import pytest
from small_policies import uncompiled

from baselines_ppo import MlpPolicy, UserError, learn, load_policy
from baselines_ppo.cli import parser as cli
from baselines_ppo.config import config_files
from baselines_ppo.config.runs_root import runs_root
from baselines_ppo.experiment.directory import default_sweep_path
from baselines_ppo.export import command as export
from baselines_ppo.export import export_saved_model
from baselines_ppo.export.targets import require_vacant
from baselines_ppo.plot import command as plot
from baselines_ppo.report import command as report
from baselines_ppo.sweep import cli as sweep_cli
from common import tf_util
from common.envs.monitor import Monitor
from common.loggers.logger import CsvOutput
from common.loggers.tensorboard import TensorBoardOutput
from common.runs.results import find_runs

SMALL = {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "optim_epochs": 1, "max_iters": 1, "seed": 0}
TYPED = [
    "--env",
    "CartPole-v1",
    "--hid-size",
    "4",
    "--num-envs",
    "1",
    "--timesteps-per-actorbatch",
    "64",
    "--optim-batchsize",
    "32",
    "--optim-epochs",
    "1",
    "--max-iters",
    "1",
    "--report",
    "false",
    "--quiet",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The home directory, with a run in ~/run. The working directory is another one and must stay empty."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        here = tmp_path_factory.mktemp("here")
        patch.setenv("HOME", str(folder))
        patch.chdir(here)
        learn(gym.make("CartPole-v1"), uncompiled, run_dir="~/run", **SMALL)
        yield folder
        assert not list(here.iterdir())


@pytest.fixture
def pi():
    return MlpPolicy("pi", gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2), hid_size=4)


def test_learn_writes_a_run_to_the_home_directory_and_starts_from_one(home):
    settings = json.loads((home / "run/config.json").read_text())["settings"]
    assert settings["run_dir"] == str(home / "run") and (home / "run/policy/policy.safetensors").exists()
    learn(gym.make("CartPole-v1"), uncompiled, load_path="~/run", **SMALL)


def test_command_line_trains_in_the_home_directory(home, cli_here, uncompiled_here):
    words = [*TYPED, "--load-path=~/run", "--hid-size=8", "--normalise-ob=true"]
    assert cli_here(*words, "--save_path=~/qa/pol.safetensors", "--log_path=~/qa/run").returncode == 0
    assert (home / "qa/pol.safetensors").read_bytes() == (home / "qa/run/policy/policy.safetensors").read_bytes()
    config = json.loads((home / "qa/run/config.json").read_text())
    for part in ("settings", "typed"):
        assert (config[part]["run_dir"], config[part]["save_policy"]) == (
            str(home / "qa/run"),
            str(home / "qa/pol.safetensors"),
        )
    assert cli_here("--run-dir=~/qa/run", "--resume", "--print-config").returncode == 0
    assert cli_here("--config=~/qa/run/config.json", "--print-config").returncode == 0


def test_every_other_command_and_setting_expands_the_home_directory(home, monkeypatch):
    _, args = cli.parse(["--play", "--load-path=~/run", "--video=~/film/a.gif"])
    assert (args.load_path, args.video) == (str(home / "run"), home / "film/a.gif")
    values, args = sweep_cli.parse(
        ["--env", "CartPole-v1", "--load-path", "~/run", "--sweep-dir=~/sweep", "--config=~/c.json"]
    )
    assert (values["load_path"], args.sweep_dir, args.config) == ([str(home / "run")], home / "sweep", home / "c.json")
    (home / "c.json").write_text('{"load_path": "~/run"}')
    assert config_files.load_overrides(home / "c.json", {}, 1)[0]["load_path"] == str(home / "run")
    monkeypatch.setenv("BASELINES_PPO_RUNS", "~/runs")
    assert runs_root() == home / "runs" and default_sweep_path([]).parent == home / "runs"
    assert plot.main(["~/run", "--out=~/figures/x.png"]) == 0 and (home / "figures/x.png").exists()
    assert report.main(["~/run"]) == 0 and (home / "run/report.html").exists()
    args = export.build_parser().parse_args(["~/run", "~/x"])
    assert (args.run, args.out) == (home / "run", home / "x")


def test_python_saves_loads_exports_and_logs_in_the_home_directory(home, pi):
    pi.save("~/saved/pi.safetensors")
    for name in ("~/saved/pi.safetensors", b"~/saved/pi.safetensors", "~/saved/../saved/pi.safetensors"):
        load_policy(name)
        MlpPolicy.load(name)
        pi.restore_from(name)
    for variables in (pi.get_variables(), pi.get_trainable_variables()):
        tf_util.save_variables("~/u/v", variables=variables)
        tf_util.load_variables("~/u/v", variables=variables)
    Monitor(gym.make("CartPole-v1"), "~/logs/0.monitor.csv").close()
    CsvOutput("~/logs/progress.csv").close()
    TensorBoardOutput("~/tb").close()
    assert [len(list(find_runs(path))) for path in ("~/logs", "~/logs/0.monitor.csv", "~")] == [1, 1, 3]
    assert require_vacant("~/exported", is_directory=True) == (home / "exported").resolve()
    assert {path.name for path in home.iterdir()} >= {"saved", "u", "logs", "tb"}


@pytest.mark.parametrize("given", ["", "~nobody-has-this-name/x", "a\0b", "x" * 300])
def test_invalid_path_is_refused_with_one_line_everywhere(given, home, pi):
    for ask in (
        lambda: learn(gym.make("CartPole-v1"), uncompiled, run_dir=given, **SMALL),
        lambda: load_policy(given),
        lambda: pi.save(given),
        lambda: learn(gym.make("CartPole-v1"), uncompiled, load_path=given, **SMALL),
        lambda: Monitor(gym.make("CartPole-v1"), given),
        lambda: export_saved_model(pi, given),
        lambda: cli.parse(["--run-dir", given]),
        lambda: plot.make_parser().parse_args([given]),
    ):
        with pytest.raises(UserError) as error:
            ask()
        assert "\n" not in str(error.value)


# ---- paths that are written at the end


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("taken/p", "cannot write to --save-policy {path}: Not a directory"),
        ("run", "--save-policy {path} is a directory"),
        ("/proc/nobody/p", "cannot write to --save-policy {path}: No such"),
    ],
)
def test_path_of_the_saved_policy_is_checked_before_the_first_step(path, says, tmp_path, monkeypatch, cli_here):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    refused = cli_here(*TYPED, "--run-dir", "run", "--save-policy", path)
    assert refused.returncode == 2 and says.format(path=path) in refused.stderr and refused.stderr.count("\n") == 1
    assert not (tmp_path / "run/config.json").exists()


def test_paths_of_videos_figures_and_exports_are_checked_first(home, tmp_path, cli_here, monkeypatch, capfd):
    (tmp_path / "taken").touch()
    refused = cli_here("--play", "--load-path", home / "run", "--video", tmp_path / "taken/a.gif")
    assert (
        refused.returncode == 2
        and "a.gif: Not a directory; choose another place\n" in refused.stderr
        and not refused.stdout
    )
    for command in (
        plot.main([str(home / "run"), "--out", str(tmp_path / "taken/x.png")]),
        export.main([str(home / "run"), str(tmp_path / "taken/x.tflite")]),
    ):
        assert command == 2
    monkeypatch.setattr(export, "import_tensorflow", None)  # the path is checked before the import
    assert export.main([str(home / "run"), str(tmp_path / "taken/x")]) == 2
    assert capfd.readouterr().err.count("Not a directory; choose another place\n") == 3


def test_policy_is_saved_to_a_regular_file_or_refused(pi, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, says in (
        (".", "is a directory"),
        ("new/", "is a directory"),
        ("/dev/null", "is a device or a pipe"),
    ):
        with pytest.raises(UserError, match=says):
            pi.save(path)
    assert not list(tmp_path.iterdir())
    pi.save("a/b/" + "c" * 250)
    assert load_policy("a/b/" + "c" * 250)
