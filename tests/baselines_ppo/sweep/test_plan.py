"""The runs of a sweep: their values, order, names and command lines."""

import re

import jobs

from baselines_ppo.cli import parser as cli
from baselines_ppo.cli.command_lines import to_argv
from baselines_ppo.sweep.cli import parse
from baselines_ppo.sweep.plan import combinations, plan
from baselines_ppo.sweep.processes import launcher


def test_the_seed_changes_slowest_in_the_product():
    values, _ = parse(["--env", "A", "B", "--seed", "0-1", "--clip-param", "0.1", "0.2"])
    assert [tuple(one.values()) for one in combinations(values)] == [
        ("A", 0, 0.1),
        ("A", 0, 0.2),
        ("B", 0, 0.1),
        ("B", 0, 0.2),
        ("A", 1, 0.1),
        ("A", 1, 0.2),
        ("B", 1, 0.1),
        ("B", 1, 0.2),
    ]


def test_integers_may_be_ranges_and_other_values_are_parsed_as_by_run_py():
    values, args = parse(
        [
            "--seed",
            "0-3",
            "7",
            "--hid-size",
            "8-9",
            "--num_timesteps",
            "1e4",
            "--vf-clip",
            "none",
            "0.2",
            "--scale-returns",
            "--ranks",
            "2",
        ]
    )
    assert values == {
        "seed": [0, 1, 2, 3, 7],
        "hid_size": [8, 9],
        "num_timesteps": [10_000],
        "vf_clip": [None, 0.2],
        "scale_returns": [True],
    }
    assert args.ranks == 2


def test_names_contain_the_environment_varying_settings_and_the_seed():
    runs = plan({"env": ["CartPole-v1"], "seed": [3], "gamma": [0.9], "clip_param": [0.1, 0.2]}, 1, 1)
    assert [run.name for run in runs] == ["CartPole-v1-clip_param0.1-seed3", "CartPole-v1-clip_param0.2-seed3"]


def test_names_are_valid_and_unique_directory_names():
    kwargs = [{"sutton_barto_reward": True, "render_mode": "a/b"}, {"sutton_barto_reward": True, "render_mode": "a:b"}]
    names = [run.name for run in plan({"env": ["CartPole-v1"], "seed": [0], "env_kwargs": kwargs}, 1, 1)]
    assert len(set(names)) == 2 and all(re.fullmatch(r"[\w.+-]+", name) for name in names)


def test_run_py_parses_the_same_values_from_the_arguments():
    typed = {
        "env": "CartPole-v1",
        "seed": 2,
        "init_logstd": -1e-5,
        "vf_clip": None,
        "report": False,
        "env_kwargs": {"a": -1},
        "optim_stepsize": 3e-4,
    }
    assert cli.parse(to_argv(typed))[0] == typed


def test_runs_with_several_environments_get_their_number_of_cores():
    (run,) = plan({"env": ["Hopper-v4"], "seed": [0], "num_envs": [8]}, ranks=1, cores=3)
    assert run.explicit_with_cores == {"env": "Hopper-v4", "seed": 0, "num_envs": 8, "env_workers": 0, "env_threads": 3}


def test_ranks_are_started_by_the_mpirun_of_this_environment():
    assert launcher(1) == [] and launcher(3) == [jobs.mpirun(), "-n", "3"]
