"""Settings from the command line, from files, and printed: --config, --print-config, `none`, bare flags, the help."""

import dataclasses
import inspect
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import jobs
import pytest

from baselines_ppo import CnnPolicy, MlpPolicy
from baselines_ppo.cli.command_lines import to_argv
from baselines_ppo.cli.parser import build_parser, parse
from baselines_ppo.config.combinations import unused_settings
from baselines_ppo.config.config_files import CONFIG_FORMAT, load_overrides
from baselines_ppo.config.policy_settings import POLICIES, MlpPolicySettings
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.config.resolve import resumed_settings
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.experiment.directory import acquire_run_directory
from baselines_ppo.experiment.outputs import print_run_header
from baselines_ppo.experiment.setup import resolve_for_env
from baselines_ppo.train.runner import cores_of_a_rank, default_folder
from common.distributed.communicator import Communicator
from common.errors import UserError


def resolved(*words, ranks=1):
    typed, _ = parse(["--env", "CartPole-v1", *words])
    return resolve_for_env(typed, ranks, 2)


def written(tmp_path, content):
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    return path


def config_of(settings, ranks, typed):
    return {"format": CONFIG_FORMAT, "ranks": ranks, "settings": settings, "typed": typed}


def test_runs_go_into_the_folder_that_the_environment_variable_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BASELINES_PPO_RUNS", raising=False)
    assert default_folder(resolved()).startswith("runs/CartPole-v1/")
    monkeypatch.setenv("BASELINES_PPO_RUNS", f"{tmp_path}/elsewhere")
    found = default_folder(resolved("--seed", "3"))
    assert found.startswith(f"{tmp_path}/elsewhere/CartPole-v1/") and found.endswith("-seed3")


def test_runs_of_one_seed_that_begin_in_one_second_have_folders_of_their_own_though_none_has_begun_yet(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("BASELINES_PPO_RUNS", str(tmp_path))
    monkeypatch.setattr("time.strftime", lambda form: "20200101-000000")
    folders = [
        tmp_path / "CartPole-v1" / name
        for name in ("20200101-000000-seed0", "20200101-000000-seed0-2", "20200101-000000-seed0-3")
    ]
    assert [default_folder(resolved()) for _ in folders] == [str(folder) for folder in folders]
    assert [acquire_run_directory(folder, Communicator(None), False, 3).path for folder in folders] == folders


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda runs: runs.touch(), "Not a directory"),
        (lambda runs: runs.symlink_to("nowhere"), "No such file or directory"),
    ],
)
def test_a_folder_for_runs_that_cannot_be_one_is_refused_in_one_line(make, why, tmp_path, monkeypatch, cli_here):
    monkeypatch.setenv("BASELINES_PPO_RUNS", f"{tmp_path}/runs")
    make(tmp_path / "runs")
    done = cli_here("--env", "CartPole-v1", "--max-iters", "1")
    said = rf"run.py: error: cannot write to run directory {tmp_path}/runs/CartPole-v1/\S+-seed0: {why}; choose another --run-dir\n"
    assert done.returncode == 2 and re.fullmatch(said, done.stderr)


@pytest.mark.parametrize(
    "words, status", [(["--print-config"], 0), (["--load-path", "nowhere"], 2), (["--hid-size", "1000000000"], 2)]
)
def test_no_folder_is_made_for_what_is_no_run(words, status, tmp_path, monkeypatch, cli_here):
    monkeypatch.setenv("BASELINES_PPO_RUNS", str(tmp_path / "runs"))
    assert cli_here("--env", "CartPole-v1", *words).returncode == status
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "words, why",
    [
        (
            ("--bootstrap-time-limits", "false"),
            "bootstrap_time_limits=False: an episode that is ended early would count as terminated; set --stagger false",
        ),
        (
            ("--preset", "reinforce"),
            "whole_episodes=True: an episode that is ended early is not whole; set --stagger false",
        ),
    ],
)
def test_first_episodes_are_not_ended_early_where_that_would_count(words, why):
    assert resolved(*words)["stagger"] is False and resolved("--stagger", "true")["stagger"] is True
    with pytest.raises(UserError, match=f"^invalid --stagger with {why}$"):
        resolved(*words, "--stagger", "true")


@pytest.mark.parametrize(
    "words, names",
    [
        (("--kl-target", "0.1", "--beta", "3", "--clip-param", "0.1"), ["kl_target", "beta"]),
        (("--objective", "adaptive_kl", "--kl-target", "0.1", "--beta", "3"), []),
        (("--preset", "reinforce", "--vf-coef", "0.1", "--vf-iters", "2"), ["vf_coef"]),
        (("--preset", "a2c", "--vf-coef", "0.1", "--vf-stepsize", "0.1"), ["vf_stepsize"]),
        (("--objective", "adaptive_kl", "--kl-target", "0.1", "--kl-min", "0.1", "--kl-max", "0.2"), ["kl_target"]),
        (
            ("--alg", "trpo", "--vf-iters", "0", "--vf-stepsize", "0.1", "--vf-batchsize", "32"),
            ["vf_stepsize", "vf_batchsize"],
        ),
        (("--preset", "reinforce", "--baseline", "mean", "--vf-iters", "2"), ["vf_iters"]),
        (("--alg", "trpo", "--vf-iters", "2", "--vf-stepsize", "0.1"), []),
        (("--ob-clip", "3"), ["ob_clip"]),
        (("--ob-clip", "3", "--normalise-ob", "true"), []),
    ],
)
def test_a_run_says_which_of_what_was_typed_changes_nothing(words, names, capsys):
    typed, _ = parse(["--env", "CartPole-v1", *words])
    assert [name for name, _ in unused_settings(ResolvedConfig.from_dict(resolve_for_env(typed, 1, 2), typed))] == names
    print_run_header(resolve_for_env(typed, 1, 2), typed, Communicator(None), None, None, {})
    assert [
        line.split()[0] for line in capsys.readouterr().out.splitlines() if " has no effect here: it requires " in line
    ] == names


@pytest.mark.parametrize(
    "words, said",
    [
        ((), ""),
        (("--stagger", "false", "--bootstrap-time-limits", "false"), ""),
        (("--stagger", "false"), ""),
        (
            ("--bootstrap-time-limits", "false"),
            "preset mujoco would end first episodes early (--stagger); not with bootstrap_time_limits=False: "
            "an episode that is ended early would count as terminated\n",
        ),
    ],
)
def test_a_run_says_that_its_presets_early_ends_are_left_out(words, said, capsys):
    typed, _ = parse(["--env", "CartPole-v1", "--preset", "mujoco", *words])
    print_run_header(resolve_for_env(typed, 1, 2), typed, Communicator(None), None, None, {})
    assert "".join(capsys.readouterr().out.splitlines(keepends=True)[2:]) == said


def test_a_run_by_the_config_of_another_says_so_too(tmp_path, capsys):
    typed = {"env": "Pendulum-v1", "preset": "mujoco"}
    path = written(tmp_path, config_of(resolve_for_env(typed, 1, 2), 1, typed))
    for now, said in (({}, 0), ({"bootstrap_time_limits": False}, 1)):
        given, told = load_overrides(path, now, 1)
        print_run_header(resolve_for_env(given, 1, 2), told, Communicator(None), None, None, {})
        assert capsys.readouterr().out.count("would end first episodes early") == said


def test_a_preset_that_ends_first_episodes_early_does_not_where_that_would_count():
    assert PRESETS["mujoco"].stagger and resolved("--preset", "mujoco")["stagger"] is True
    assert resolved("--preset", "mujoco", "--stagger", "false")["stagger"] is False
    assert resolved("--preset", "mujoco", "--bootstrap-time-limits", "false")["stagger"] is False
    with pytest.raises(UserError, match="set --stagger false"):
        resolved("--preset", "mujoco", "--bootstrap-time-limits", "false", "--stagger", "true")


def test_none_takes_a_presets_value_away():
    assert resolved()["max_grad_norm"] == PRESETS["classic"].learn["max_grad_norm"]
    assert resolved("--max-grad-norm", "none")["max_grad_norm"] is None
    assert resolved("--optim-batchsize", "none")["optim_batchsize"] is None


def test_a_bare_flag_is_true_and_false_can_be_said():
    assert resolved("--quiet")["quiet"] is True and resolved("--recompute-adv")["recompute_adv"] is True
    assert resolved("--scale-returns", "false")["scale_returns"] is False


def test_the_config_of_a_run_gives_its_settings_again_and_what_is_typed_wins(tmp_path):
    words = (
        "--clip-param",
        "0.1",
        "--max-grad-norm",
        "none",
        "--hid-size",
        "32",
        "--max-iters",
        "3",
        "--schedule",
        "constant",
    )
    settings = resolved(*words) | {"run_dir": "runs/there"}
    path = written(tmp_path, config_of(settings, 1, {}))
    again = resolve_for_env(load_overrides(path, {}, 1)[0], 1, 2)
    assert again | {"batch": None, "run_dir": None} == settings | {"batch": None, "run_dir": None}
    assert again["run_dir"] is None  # that folder is the other run's
    other = resolve_for_env(load_overrides(path, {"seed": 5, "num_timesteps": 100_000}, 1)[0], 1, 2)
    assert (
        other["seed"] == 5
        and other["num_timesteps"] == 100_000
        and other["max_iters"] == 0
        and other["clip_param"] == 0.1
    )


def test_the_config_of_a_run_has_no_policy_setting_that_did_not_exist_then_though_its_preset_gives_it_now(tmp_path):
    settings = resolved("--preset", "mujoco", "--ob-clip", "4")
    of_policy = {name: settings["policy_settings"][name] for name in ("init", "ob_clip")}
    path = written(tmp_path, config_of(settings | {"policy_settings": of_policy}, 1, {}))
    given, _ = load_overrides(path, {}, 1)
    defaults = {"init_logstd": 0.0, "ob_min_std": 0.1}
    assert not {*defaults.items()} & {*settings["policy_settings"].items()}
    expected = dataclasses.asdict(MlpPolicySettings(**of_policy, **defaults))
    assert resolve_for_env(given, 1, 2)["policy_settings"] == expected
    given_now, _ = load_overrides(path, {"init_logstd": -2.0}, 1)
    assert resolve_for_env(given_now, 1, 2)["policy_settings"] == expected | {"init_logstd": -2.0}
    again, _ = parse(to_argv(given))  # as a sweep's trainings are told
    assert resolve_for_env(again, 1, 2) == resolve_for_env(given, 1, 2)


@pytest.mark.parametrize("policy", POLICIES)
def test_arguments_of_the_policies_have_the_defaults_of_their_settings(policy):
    parameters = inspect.signature({"mlp": MlpPolicy, "cnn": CnnPolicy}[policy]).parameters
    defaults = {one.name: one.default for one in dataclasses.fields(POLICIES[policy])}
    assert {name: parameters[name].default for name in defaults} == defaults
    assert parameters.keys() == {"name", "ob_space", "ac_space", *defaults}


def test_the_config_of_a_run_on_other_ranks_is_shared_out_anew(tmp_path):
    typed = {"env": "CartPole-v1", "timesteps_per_actorbatch": 4096}
    path = written(tmp_path, config_of(resolve_for_env(typed, 1, 2), 1, typed))
    assert resolve_for_env(load_overrides(path, {}, 4)[0], 4, 2)["timesteps_per_actorbatch"] == 1024


def test_counts_shared_out_over_ranks_may_be_typed_again_and_others_not():
    first = {"env": "Pendulum-v1", "preset": "mujoco", "max_iters": 2, "timesteps_per_actorbatch": 256}
    before = resolve_for_env(first, 2, 1)
    assert (before["timesteps_per_actorbatch"], before["optim_batchsize"]) == (128, 64)  # 128 is the preset's total
    again = first | {"optim_batchsize": 128}
    assert resumed_settings(again, before, 2, "run") == before
    other = first | {"optim_batchsize": 64}
    with pytest.raises(UserError, match="optim_batchsize=64, 32 per rank, but the run in run has 64;"):
        resumed_settings(other, before, 2, "run")


@pytest.mark.parametrize("ranks", [1, 3, 100])
@pytest.mark.parametrize(
    "typed",
    [
        {"preset": "mujoco"},
        {"batch": "per-rank"},
        {"preset": "ppo1", "clip_param": 0.1},
        {"policy": "cnn", "num_envs": 3},
        {"optim_batchsize": None},
        {"preset": "mujoco", "optim_batchsize": 2048, "hid_size": 8},
        {"timesteps_per_actorbatch": 64, "optim_batchsize": 32},
        {"alg": "trpo", "timesteps_per_batch": 100, "vf_batchsize": 100},
    ],
)
def test_what_a_run_was_started_with_may_be_typed_again_and_a_limit_replaces_its_own(typed, ranks):
    typed = {"env": "Pendulum-v1", "max_iters": 2} | typed
    before = resolve_for_env(typed, ranks, 1)
    assert resumed_settings(typed, before, ranks, "run") == resumed_settings({}, before, ranks, "run") == before
    assert resumed_settings({"num_timesteps": 5000}, before, ranks, "run") == before | {
        "num_timesteps": 5000,
        "max_iters": 0,
    }


@pytest.mark.parametrize(
    "typed, then",
    [
        ({"bootstrap_time_limits": False}, True),
        ({"alg": "trpo"}, "'ppo'"),
        ({"policy": "cnn"}, "'mlp'"),
        ({"preset": "trpo"}, "'mujoco'"),
        ({"cg_iters": 5}, None),
        ({"hid_size": 9}, 8),
    ],
)
def test_what_may_not_change_is_refused_by_its_own_name(typed, then):
    before = resolve_for_env({"env": "Pendulum-v1", "preset": "mujoco", "hid_size": 8}, 1, 1)
    ((name, value),) = typed.items()
    with pytest.raises(
        UserError,
        match=f"^--resume: {name}={value!r}, but the run in run has {then}; leave it out, or start a new run$",
    ):
        resumed_settings(typed, before, 1, "run")


@pytest.mark.parametrize(
    "others, cores", [([], 8), ([list(range(8))], 4), ([list(range(8, 16))], 8), ([list(range(8))] * 15, 1)]
)
def test_cores_are_shared_with_the_ranks_that_may_run_on_the_same(others, cores, monkeypatch):
    monkeypatch.setattr("baselines_ppo.train.runner.cpu_affinity", lambda: list(range(8)))
    assert cores_of_a_rank(SimpleNamespace(gather_on_host=lambda own: [own, *others], minimum=lambda x: x)) == cores


def test_a_count_typed_beside_a_config_means_the_same_on_any_number_of_ranks(tmp_path):
    typed = {"env": "CartPole-v1", "timesteps_per_actorbatch": 4096}
    path = written(tmp_path, config_of(resolve_for_env(typed, 4, 2), 4, typed))
    for ranks in (1, 4):
        settings = resolve_for_env(load_overrides(path, {"optim_batchsize": 128}, ranks)[0], ranks, 2)
        assert settings["optim_batchsize"] * ranks == 128 and settings["timesteps_per_actorbatch"] * ranks == 4096
        # and beside the config of a run that was itself started by one
        of_it = resolve_for_env(load_overrides(path, {}, ranks)[0], ranks, 2)
        again = written(tmp_path / str(ranks), config_of(of_it, ranks, typed))
        assert resolve_for_env(load_overrides(again, {"optim_batchsize": 128}, ranks)[0], ranks, 2) == settings
        assert resumed_settings({"timesteps_per_actorbatch": 4096}, of_it, ranks, "run") == of_it


def test_a_config_made_from_a_config_says_what_was_typed_for_both(tmp_path):
    typed = {"env": "CartPole-v1", "timesteps_per_actorbatch": 4096}
    path = written(tmp_path, config_of(resolve_for_env(typed, 4, 2), 4, typed))
    assert load_overrides(path, {"seed": 3}, 4)[1] == typed | {"seed": 3}


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_presets_early_ends_are_left_out_of_a_config_too_and_typed_ones_refused(ranks, tmp_path):
    typed = {"env": "Pendulum-v1", "preset": "mujoco"}
    path = written(tmp_path, config_of(resolve_for_env(typed, 2, 2), 2, typed))
    assert resolve_for_env(load_overrides(path, {}, ranks)[0], ranks, 2)["stagger"] is True
    assert (
        resolve_for_env(load_overrides(path, {"bootstrap_time_limits": False}, ranks)[0], ranks, 2)["stagger"] is False
    )
    old = config_of(resolve_for_env(typed | {"stagger": False}, 2, 2), 2, typed)  # of a preset that had it not
    assert (
        resolve_for_env(load_overrides(written(tmp_path, old), {"bootstrap_time_limits": True}, 2)[0], 2, 2)["stagger"]
        is False
    )
    path = written(tmp_path, config_of(resolve_for_env(typed | {"stagger": True}, 2, 2), 2, typed | {"stagger": True}))
    with pytest.raises(UserError, match="set --stagger false"):
        resolve_for_env(load_overrides(path, {"bootstrap_time_limits": False}, ranks)[0], ranks, 2)


def test_names_that_are_null_are_not_given(tmp_path):
    path = written(tmp_path, {"env": "CartPole-v1", "run_dir": None, "save_policy": None, "max_grad_norm": None})
    assert load_overrides(path, {}, 1)[0] == {"env": "CartPole-v1", "max_grad_norm": None}


def test_a_plain_object_of_settings_is_read_with_hyphens_or_underscores(tmp_path):
    path = written(
        tmp_path,
        {
            "env": "CartPole-v1",
            "clip-param": 0.3,
            "optim_epochs": 4,
            "scale_returns": False,
            "env_kwargs": {"sutton_barto_reward": True},
        },
    )
    settings = resolve_for_env(load_overrides(path, {}, 1)[0], 1, 2)
    assert (settings["clip_param"], settings["optim_epochs"], settings["scale_returns"]) == (0.3, 4, False)
    assert settings["env_kwargs"] == {"sutton_barto_reward": True}


@pytest.mark.parametrize(
    "content, parts",
    [
        ("not json", ["cannot read"]),
        ("[1]", ["must contain a JSON object"]),
        ('{"clip_parm": 1}', ["clip_parm", "unknown setting"]),
        ('{"optim_epochs": "many"}', ["optim_epochs", "an integer"]),
        ('{"preset": "best"}', ["preset", "best", "mujoco"]),
        ('{"format": "baselines_ppo.config"}', ["not a valid config.json"]),
    ],
)
def test_a_config_that_cannot_be_used_is_refused_naming_why(content, parts, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        load_overrides(path, {}, 1)
    assert all(part in str(error.value) for part in (str(path), *parts)) and "\n" not in str(error.value)


def test_print_config_is_json_and_needs_no_tensorflow():
    code = (
        "import sys; from baselines_ppo.__main__ import main; status = main(['--env', 'CartPole-v1', '--clip-param', '0.1', '--print-config'])\n"
        "assert 'tensorflow' not in sys.modules and status == 0"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=jobs.ROOT)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["settings"]["clip_param"] == 0.1 and printed["typed"] == {"env": "CartPole-v1", "clip_param": 0.1}


def test_help_gives_each_presets_own_value():
    text = " ".join(build_parser().format_help().split())
    assert "epsilon of the clipped surrogate [default: 0.2; 0.1 with preset atari]" in text
    assert "split over the ranks; 8 with preset mujoco, humanoid, atari, a2c; 4 with preset classic]" in text


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_scripts_know_every_flag(shell):
    done = jobs.run(1, jobs.RUN, "--print-completion", shell)
    assert done.returncode == 0 and "--clip-param" in done.stdout and "--eval-every" in done.stdout
