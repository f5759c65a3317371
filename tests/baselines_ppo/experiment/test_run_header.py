"""The first lines of a run: what of its settings is without effect or was dropped."""

import pytest
from configs import config_json, write_json

from baselines_ppo.cli.parser import parse
from baselines_ppo.config.config_files import load_overrides
from baselines_ppo.experiment.setup import resolve_config
from baselines_ppo.experiment.summary import print_run_header


def test_settings_without_effect_are_reported(capsys):
    explicit, _ = parse(["--env", "CartPole-v1", "--kl-target", "0.1", "--beta", "3", "--clip-param", "0.1"])
    print_run_header(resolve_config(explicit, 1, 2), 1)
    lines = [line for line in capsys.readouterr().out.splitlines() if " has no effect here: it requires " in line]
    assert [line.split()[0] for line in lines] == ["kl_target", "beta"]


@pytest.mark.parametrize(
    "words, expected",
    [
        ((), ""),
        (("--stagger", "false", "--bootstrap-time-limits", "false"), ""),
        (("--stagger", "false"), ""),
        (
            ("--bootstrap-time-limits", "false"),
            "--stagger of preset mujoco is disabled by bootstrap_time_limits=False: "
            "an episode that is ended early would count as terminated\n",
        ),
    ],
)
def test_a_dropped_stagger_of_the_preset_is_reported(words, expected, capsys):
    explicit, _ = parse(["--env", "CartPole-v1", "--preset", "mujoco", *words])
    print_run_header(resolve_config(explicit, 1, 2), 1)
    assert "".join(capsys.readouterr().out.splitlines(keepends=True)[2:]) == expected


def test_a_dropped_stagger_is_reported_for_a_run_from_a_file(tmp_path, capsys):
    explicit = {"env": "Pendulum-v1", "preset": "mujoco"}
    path = write_json(tmp_path, config_json(resolve_config(explicit, 1, 2)))
    for now, times in (({}, 0), ({"bootstrap_time_limits": False}, 1)):
        given, stored = load_overrides(path, now, 1)
        print_run_header(resolve_config(given, 1, 2, stored), 1)
        assert capsys.readouterr().out.count("--stagger of preset mujoco is disabled") == times
