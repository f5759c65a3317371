"""original_ppo1.py: the Gym interface of Gymnasium environments, and the table. The original is not installed with the tests."""

import subprocess
import sys

import gymnasium as gym
import jobs
import numpy as np
import pytest

from benchmarks.paper import original_ppo1
from benchmarks.returns.result_files import ResultFile


def test_environment_has_the_gym_interface_and_reports_time_limits_as_done():
    env, same = (original_ppo1.GymEnv(gym.make("Pendulum-v1", max_episode_steps=3), 7) for _ in range(2))
    first, _ = gym.make("Pendulum-v1").reset(seed=7)
    np.testing.assert_array_equal(env.reset(), first)
    np.testing.assert_array_equal(same.reset(), first)
    assert [env.step(np.zeros(1, np.float32))[2] for _ in range(3)] == [False, False, True]
    assert (env.reset() != same.env.reset(seed=7)[0]).any()  # only the first episode is seeded


def test_table_has_the_mean_over_finished_seeds(results_here, monkeypatch):
    # replaces rliable, which the tests do not require
    monkeypatch.setattr(original_ppo1, "format_interquartile", str)
    assert original_ppo1.report(["Swimmer-v4"], [0, 1], 1000) == "no training has finished yet"
    for seed, value in ((0, 40.0), (1, 60.0), (2, 1e6)):
        ResultFile(original_ppo1.BENCHMARK).add(
            {
                "env": "Swimmer-v4",
                "seed": seed,
                "steps": 1000,
                "score": value - 5,
                "seconds": 9.0,
                "deterministic": [value] * 2,
                "stochastic": [value - 1] * 2,
            }
        )
    text = original_ppo1.report(["Swimmer-v4"], [0, 1], 1000)
    assert "| Swimmer-v4 | 2 | 50.0 ± 14.1 | [40.0, 60.0] | 49.0 | 45.0 ± 14.1 | 9 |" in text
    assert text == (results_here / "original-ppo1-part-table.md").read_text()  # the committed table has 1M steps


@pytest.mark.skipif(original_ppo1.is_installed(), reason="the original is installed")
def test_missing_original_is_reported_with_the_install_command():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.paper.original_ppo1"], cwd=jobs.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and "pip install --no-deps baselines==0.1.5" in done.stderr.splitlines()[-1]
