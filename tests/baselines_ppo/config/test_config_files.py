"""`--config`: the settings of another run, or a JSON object of settings."""

import dataclasses
import json

import pytest
from configs import config_for, config_from_file, config_json, write_json

from baselines_ppo.cli.command_lines import to_argv
from baselines_ppo.cli.parser import parse
from baselines_ppo.config.config_files import load_overrides
from baselines_ppo.config.policy_settings import MlpPolicySettings
from baselines_ppo.experiment.setup import resolve_config
from common.errors import UserError

COUNTED = {"env": "CartPole-v1", "timesteps_per_actorbatch": 4096}
MUJOCO = {"env": "Pendulum-v1", "preset": "mujoco"}


def test_a_runs_file_gives_its_settings_and_explicit_ones_have_precedence(tmp_path):
    words = ["--clip-param", "0.1", "--max-grad-norm", "none", "--hid-size", "32", "--max-iters", "3"]
    config = config_for(*words, "--schedule", "constant").with_run(run_dir="runs/there")
    path = write_json(tmp_path, config_json(config, explicit={}))
    again = config_from_file(path)
    assert again.run.run_dir is None  # that directory belongs to the other run
    assert (again.algorithm, again.policy) == (config.algorithm, config.policy)
    assert again.with_run(batch=None) == dataclasses.replace(
        config.with_run(batch=None, run_dir=None), explicit=again.explicit
    )
    other = config_from_file(path, {"seed": 5, "num_timesteps": 100_000})
    assert (other.run.seed, other.run.num_timesteps, other.run.max_iters) == (5, 100_000, 0)
    assert other.algorithm.clip_param == 0.1


def test_a_policy_setting_that_did_not_exist_then_has_its_default_not_its_presets_value(tmp_path):
    config = config_for("--preset", "mujoco", "--ob-clip", "4")
    stored = {name: config.policy_kwargs[name] for name in ("init", "ob_clip")}
    content = config_json(config, explicit={})
    content["settings"]["policy_settings"] = stored
    path = write_json(tmp_path, content)
    assert (config.policy.init_logstd, config.policy.ob_min_std) == (-1.0, 1e-4)
    expected = MlpPolicySettings(**stored, init_logstd=0.0, ob_min_std=0.1)
    assert config_from_file(path).policy == expected
    assert config_from_file(path, {"init_logstd": -2.0}).policy == dataclasses.replace(expected, init_logstd=-2.0)
    given, _ = load_overrides(path, {}, 1)
    again, _ = parse(to_argv(given))  # as a sweep passes them to its runs
    assert resolve_config(again, 1, 2) == resolve_config(given, 1, 2)


def test_a_printed_config_leaves_the_axis_of_the_channels_to_be_detected(tmp_path):
    config = config_for("--policy", "cnn")
    assert config.policy.channels is None
    assert config_from_file(write_json(tmp_path, config_json(config))).policy.channels is None
    older = config_json(config)
    del older["settings"]["policy_settings"]["channels"]
    assert config_from_file(write_json(tmp_path, older)).policy.channels == "smaller"


def test_removed_settings_are_left_out_where_nothing_has_changed(tmp_path):
    config = config_for("--env", "Hopper-v4")
    older = config_json(config)
    older["settings"] |= {"optimizer": "adam", "kfac_damping": 0.1}
    older["typed"] |= {"optimizer": "adam"}
    assert config_from_file(write_json(tmp_path, older)) == config_from_file(write_json(tmp_path, config_json(config)))
    for part in ("settings", "typed"):
        other = json.loads(json.dumps(older))
        other[part]["optimizer"] = "kfac"
        with pytest.raises(UserError, match="optimizer='kfac' was removed; use the version"):
            load_overrides(write_json(tmp_path, other), {}, 1)


def test_a_runs_counts_are_split_again_over_another_number_of_ranks(tmp_path):
    path = write_json(tmp_path, config_json(resolve_config(COUNTED, 1, 2)))
    assert config_from_file(path, ranks=4).algorithm.timesteps_per_actorbatch == 1024


def test_an_explicit_count_is_a_total_for_any_number_of_ranks(tmp_path):
    path = write_json(tmp_path, config_json(resolve_config(COUNTED, 4, 2), 4))
    for ranks in (1, 4):
        config = config_from_file(path, {"optim_batchsize": 128}, ranks)
        assert config.algorithm.optim_batchsize * ranks == 128
        assert config.algorithm.timesteps_per_actorbatch * ranks == 4096
        # also with the file of a run that was itself started from a file
        second = config_json(config_from_file(path, ranks=ranks), ranks, explicit=COUNTED)
        again = config_from_file(write_json(tmp_path / str(ranks), second), {"optim_batchsize": 128}, ranks)
        assert (again.run, again.algorithm, again.policy) == (config.run, config.algorithm, config.policy)


def test_the_new_config_json_stores_what_was_explicit_for_both_runs(tmp_path):
    path = write_json(tmp_path, config_json(resolve_config(COUNTED, 4, 2), 4))
    assert load_overrides(path, {"seed": 3}, 4)[1] == COUNTED | {"seed": 3}


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_presets_stagger_is_dropped_and_an_explicit_one_refused_where_it_conflicts(ranks, tmp_path):
    path = write_json(tmp_path, config_json(resolve_config(MUJOCO, 2, 2), 2))
    assert config_from_file(path, ranks=ranks).run.stagger is True
    assert config_from_file(path, {"bootstrap_time_limits": False}, ranks).run.stagger is False
    # a run from before the preset had stagger
    older = config_json(resolve_config(MUJOCO | {"stagger": False}, 2, 2), 2, explicit=MUJOCO)
    path = write_json(tmp_path, older)
    assert config_from_file(path, {"bootstrap_time_limits": True}, 2).run.stagger is False
    path = write_json(tmp_path, config_json(resolve_config(MUJOCO | {"stagger": True}, 2, 2), 2))
    with pytest.raises(UserError, match="set --stagger false"):
        config_from_file(path, {"bootstrap_time_limits": False}, ranks)


def test_null_means_that_a_name_is_not_given(tmp_path):
    content = {"env": "CartPole-v1", "run_dir": None, "save_policy": None, "max_grad_norm": None}
    path = write_json(tmp_path, content)
    assert load_overrides(path, {}, 1)[0] == {"env": "CartPole-v1", "max_grad_norm": None}


def test_a_json_object_of_settings_may_have_hyphens_or_underscores(tmp_path):
    content = {"env": "CartPole-v1", "clip-param": 0.3, "optim_epochs": 4, "scale_returns": False}
    path = write_json(tmp_path, content | {"env_kwargs": {"sutton_barto_reward": True}})
    config = config_from_file(path)
    algorithm = config.algorithm
    assert (algorithm.clip_param, algorithm.optim_epochs, algorithm.scale_returns) == (0.3, 4, False)
    assert config.run.env_kwargs == {"sutton_barto_reward": True}


@pytest.mark.parametrize(
    "content, parts",
    [
        ("not json", ["cannot read"]),
        ("[1]", ["must contain a JSON object"]),
        ('{"clip_parm": 1}', ["unknown setting 'clip_parm'"]),
        ('{"optim_epochs": "many"}', ["optim_epochs: invalid 'many': must be an integer"]),
        ('{"preset": "best"}', ["invalid preset='best': must be one of", "mujoco"]),
        ('{"format": "baselines_ppo.config"}', ["not a valid config.json"]),
    ],
)
def test_an_invalid_file_is_refused_in_one_line(content, parts, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        load_overrides(path, {}, 1)
    assert all(part in str(error.value) for part in (str(path), *parts)) and "\n" not in str(error.value)
