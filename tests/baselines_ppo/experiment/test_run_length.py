"""The length of a run is reported if it differs from the requested one."""

import re

import gymnasium as gym
from small_policies import uncompiled

from baselines_ppo import learn

WORDS = (
    "--env",
    "CartPole-v1",
    "--num-envs",
    "1",
    "--timesteps-per-actorbatch",
    "64",
    "--optim-batchsize",
    "32",
    "--optim-epochs",
    "1",
    "--hid-size",
    "4",
    "--schedule",
    "constant",
    "--report",
    "false",
)
LEFT = "^resume: nothing is left to do: the run has had {}, and {}; raise it to continue$"


def test_rounded_up_steps_and_a_resume_with_nothing_to_do_are_reported(tmp_path, cli_here, uncompiled_here):
    said = cli_here(*WORDS, "--num-timesteps", "100", "--run-dir", tmp_path).stdout
    assert "--num-timesteps 100 becomes 128 steps: the run has whole iterations of 64 steps\n" in said
    for limit, value, had in (
        ("--num-timesteps", "120", "128 steps"),
        ("--max-iters", "2", "2 iterations"),
        ("--max-episodes", "1", r"\d+ episodes"),
        ("--max-seconds", "0.001", r"\d+ seconds"),
    ):
        said = cli_here("--run-dir", tmp_path, "--resume", limit, value).stdout
        assert re.search(LEFT.format(had, f"{limit} is {value}"), said, re.M) and "128 steps in" in said, said
    said = cli_here("--run-dir", tmp_path, "--resume", "--num-timesteps", "192").stdout
    assert "becomes" not in said and "nothing is left" not in said and "192 steps in" in said


def test_learn_logs_the_rounded_up_number_of_steps(caplog):
    caplog.set_level("INFO", "baselines_ppo")
    for steps, becomes in ((50, True), (64, False)):
        learn(
            gym.make("CartPole-v1"),
            uncompiled,
            max_timesteps=steps,
            timesteps_per_actorbatch=64,
            optim_batchsize=32,
            optim_epochs=1,
            seed=0,
        )
        assert ("learn: max_timesteps=50 becomes 64: iterations are whole, of 64 steps" in caplog.messages) == becomes
        caplog.clear()
