"""Tables of final_policies.py: their contents, and the files that they are written to."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.returns import final_policies, group_table, published, tuning
from benchmarks.returns.group_table import format_group, has_collapsed, ratio_to_one_rank, task_row
from benchmarks.returns.result_files import ResultFile, TrainingJob
from benchmarks.returns.training_queue import run_queue

COMMIT = "c" * 40


def line(job, value, spread=(0.0,), **more):
    """The line that a training of the job writes; its policy scores `value`."""
    return {
        "benchmark": job.benchmark,
        "setting": job.setting,
        "env": job.env,
        "seed": job.seed,
        "steps": job.steps,
        "score": value - 1,
        "seconds": 60.0,
        "curve": [[1, 0.0], [2, value]],
        "length": 1000.0,
        "git_commit": COMMIT,
        "settings": job.settings | {"preset": "x"},
        "deterministic": [value + part for part in spread] * (job.episodes // len(spread)),
        "stochastic": [value - 2] * job.episodes,
    } | more


def test_policy_score_is_in_the_line_and_in_the_table(results_here, tmp_path):
    (job,) = final_policies.jobs("others", ["CartPole-v1"], [100], 256)
    assert run_queue([job], 1, tmp_path / "work") == 0
    (found,) = ResultFile("returns").lines
    assert job in ResultFile("returns")  # the line satisfies the job that wrote it
    assert (
        len(found["deterministic"]) == len(found["stochastic"]) == 100 and found["deterministic"] != found["stochastic"]
    )
    assert all(ret >= 8 for ret in found["stochastic"])
    assert f"{np.mean(found['deterministic']):,.1f}" in final_policies.report("others", [job])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "returns-others-part-table.md",
        "returns-others-part.png",
        "returns.jsonl",
        "work",
    ]


def test_repeated_seeds_and_tasks_are_merged():
    assert [
        (job.env, job.seed) for job in final_policies.jobs("nine", ["Hopper-v4", "Ant-v4", "Hopper-v4"], [1, 0, 1])
    ] == [("Hopper-v4", 1), ("Ant-v4", 1), ("Hopper-v4", 0), ("Ant-v4", 0)]


@pytest.mark.parametrize(
    "module, arguments, message",
    [
        (
            tuning,
            ["--env", "Hopper-v4", "--seeds", "100", "205"],
            "invalid --seeds 205: 200 to 210 are reserved for the references of the return tests",
        ),
        (tuning, ["--env", "Hopper-v4", "--seeds", "4"], "invalid --seeds 4: reserved for reported results"),
        (
            tuning,
            ["--env", "Hopper-v4", "--seeds", "1999", "2015"],
            "invalid --seeds 2015: 2000 to 2015 are reserved for the final results",
        ),
        (final_policies, ["--seeds", "51"], "invalid --seeds 51: tests/returns/test_long_returns.py trains this seed"),
        (final_policies, ["--jobs", "0"], "invalid number '0': must be at least 1"),
    ],
)
def test_reserved_seeds_are_rejected(module, arguments, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [module.__name__, *arguments])
    with pytest.raises(SystemExit) as end:
        module.main()
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_row_has_the_score_and_compares_it_with_the_references(monkeypatch):
    # replaces rliable, which the tests do not require; no assertion below depends on it
    monkeypatch.setattr(
        group_table, "interquartile_interval", lambda scores: (float(np.median(scores)), min(scores), max(scores))
    )
    monkeypatch.setattr(group_table, "mean_interval", lambda x: (x.mean(), x.mean() - 10, x.mean() + 10))
    lines = [
        line(job, value)
        for job, value in zip(final_policies.jobs("nine", ["Hopper-v4"], [0, 1, 2]), (2000.0, 3000.0, 4000.0))
    ]
    cells = task_row(final_policies.GROUPS["nine"], "Hopper-v4", lines, [])
    # sample standard deviation
    assert cells["100 deterministic episodes, mean ± standard deviation over seeds"] == "3,000.0 ± 1,000.0"
    assert (cells["published PPO"], cells["published, any on-policy"]) == (
        f"[2,609]({published.TIANSHOU}) above",
        f"[3,372]({published.SB3_CONTRIB}) below",
    )
    assert cells["seeds"] == "3"
    assert (cells["median"], cells["lowest"], cells["failed"]) == ("3,000.0", "2,000.0", "0%")
    assert (cells["100 stochastic"], cells["last 100 of training"], cells["collapsed"]) == (
        "2,998.0",
        "2,999.0 (median 2,999.0, lowest 1,999.0)",
        "none",
    )
    pong = final_policies.jobs("long", ["PongNoFrameskip-v4"])[0]
    monkeypatch.setattr(group_table, "mean_interval", lambda x: (x.mean(), np.nan, np.nan))
    cells = task_row(final_policies.GROUPS["long"], pong.env, [line(pong, 19.5)], [])
    # from 18.5 in training: the policy is not evaluated
    assert (cells["target"], cells["steps"], cells["episode length"]) == (
        "18 (one seed)",
        "3,000,000",
        "1,000",
    )


@pytest.mark.parametrize(
    "env, scores, expected",
    [
        ("Hopper-v4", [1607.0, 1608.0, 3000.0, 1200.0], "50%"),  # half of the way from 14.25 to 3,200 is 1,607.13
        ("Reacher-v4", [-32.0, -33.0], "50%"),  # half of the way from -61.2 to -4 is -32.6
        ("Hopper-v5", [0.0], ""),  # it has no target
    ],
)
def test_trainings_below_half_of_the_target_have_failed(env, scores, expected):
    assert group_table.format_failed(env, scores) == expected


@pytest.mark.parametrize(
    "interval, expected",
    [
        ((3000.0, 2900.0, 3100.0), "3,000 level"),
        ((3000.0, 3000.5, 3100.0), "3,000 above"),
        ((2900.0, 2800.0, 2999.0), "3,000 below"),
        ((2900.0, np.nan, np.nan), "3,000 (one seed)"),
    ],
)
def test_a_reference_within_the_interval_of_the_mean_is_level(monkeypatch, interval, expected):
    monkeypatch.setattr(group_table, "mean_interval", lambda scores: interval)
    assert group_table.compare_with_reference([1.0, 2.0], 3000) == expected


def test_several_ranks_are_compared_with_90_percent_of_one_rank():
    ranks, one = final_policies.jobs("ranks", ["Hopper-v4"], [0]), final_policies.jobs("nine", ["Hopper-v4"], [0])
    assert (ranks[0].ranks, ranks[0].setting, one[0].setting) == (8, "default, 8 ranks", "default")
    for value, text in ((2700.0, "0.90 of 3,000.0 reached"), (2690.0, "0.90 of 3,000.0 missed")):
        cells = task_row(final_policies.GROUPS["ranks"], "Hopper-v4", [line(ranks[0], value)], [line(one[0], 3000.0)])
        assert cells["relative to one rank (0.9 or more)"] == text
    assert ratio_to_one_rank(1.0, []) == "one rank has not finished"
    assert "One rank: default, 1,000,000 steps." in format_group(
        final_policies.GROUPS["ranks"], [(ranks[0], line(ranks[0], 1.0))], [line(one[0], 1.0)], 0
    )


def test_policy_that_loses_more_than_half_of_the_improvement_has_collapsed():
    (job,) = final_policies.jobs("nine", ["Reacher-v4"], [0])
    improved = {"curve": [[1, -40.0], [2, -6.0], [3, -20.0]]}
    # halfway from -40 to -6: -23
    assert not has_collapsed(line(job, -22.9, **improved)) and has_collapsed(line(job, -23.1, **improved))
    assert "| seed 0 |" in format_group(final_policies.GROUPS["nine"], [(job, line(job, -30.0, **improved))], [], 0)


def test_notes_list_task_specific_settings_commits_and_left_out_runs():
    jobs = final_policies.jobs("nine", ["Swimmer-v4", "Hopper-v4"], [0])
    text = format_group(
        final_policies.GROUPS["nine"],
        [(job, line(job, 1.0, git_commit=COMMIT + "+" * (job.env == "Hopper-v4"))) for job in jobs],
        [],
        3,
    )
    assert "Task-specific settings: Swimmer-v4 `--gamma 0.9999 --lam 0.995`." in text
    assert "Commits: cccccccccc (1 runs), cccccccccc+ (1 runs); + means uncommitted changes." in text
    assert "Left out: 3 runs whose settings differ from the current ones." in text


def test_partial_report_does_not_replace_the_table_and_other_settings_are_left_out(results_here, monkeypatch):
    # the figure and the bootstrap would take 90 % of the time
    monkeypatch.setattr(final_policies, "curve_figure", lambda *args, **more: None)
    monkeypatch.setattr("benchmarks.returns.group_table.format_interquartile", lambda values: "")
    monkeypatch.setattr(group_table, "mean_interval", lambda x: (x.mean(), x.min(), x.max()))
    results = ResultFile("returns")
    for job in final_policies.jobs("paper"):
        results.add(line(job, 1000.0 + job.seed, spread=(-1.0, 1.0)))
    assert "| 5 | 1,002.0 ± 1.6 |" in final_policies.report("paper", final_policies.jobs("paper"))
    complete = (results_here / "returns-paper-table.md").read_text()
    for part in (
        {"seeds": [0]},
        {"tasks": ["Hopper-v4"]},
        {"steps": 1000},
        {"more": "clip_param=0.3"},
        {"preset": "paper"},
    ):
        if "seeds" not in part and "tasks" not in part:
            results.add(line(final_policies.jobs("paper", ["Hopper-v4"], [0], **part)[0], 5.0))
        (results_here / "returns-paper-part-table.md").unlink(missing_ok=True)
        final_policies.report("paper", final_policies.jobs("paper", **part))
        assert (results_here / "returns-paper-part-table.md").exists()
    assert (results_here / "returns-paper-table.md").read_text() == complete
    # as if the preset had changed since
    stale = replace(final_policies.jobs("paper", ["Hopper-v4"], [0])[0], arguments=("--preset", "paper"))
    results.add(line(stale, 9.0))
    assert "| Hopper-v4 | 5 |" in final_policies.report("paper", final_policies.jobs("paper"))


@pytest.mark.parametrize("name", final_policies.GROUPS)
def test_each_task_has_at_most_two_settings_besides_the_preset(name):
    for job in final_policies.jobs(name):
        settings = dict(zip(job.arguments[::2], job.arguments[1::2]))
        assert len(settings.keys() - {"--preset"}) <= 2 and job.match_settings
    assert {job.arguments for job in final_policies.jobs("paper", seeds=[0])} == {("--preset", "ppo1")}
    assert (
        final_policies.jobs("paper", ["Hopper-v4"], [0], more="bootstrap_time_limits=false")[0].setting
        == "ppo1 bootstrap_time_limits=false"
    )
    nine = {job.env: job for job in final_policies.jobs("nine", seeds=[0])}
    assert all(
        TrainingJob("", "", env, 0, 10, ("--preset", "mujoco", *words)).settings | {"num_timesteps": 1_000_000}
        == nine[env].settings
        for env, words in (
            ("Hopper-v4", ()),
            ("Swimmer-v4", ("--gamma", "0.9999", "--lam", "0.995")),
            ("Humanoid-v4", ()),
        )
    )


def test_long_runs_have_their_own_lengths_and_presets():
    pong, humanoid = final_policies.jobs("long")
    assert (pong.steps, pong.seed, pong.episodes, pong.arguments) == (3_000_000, 0, 0, ())
    assert (humanoid.steps, humanoid.episodes) == (10_000_000, 100) and humanoid.settings[
        "timesteps_per_actorbatch"
    ] == 4096
    assert [(job.steps, job.arguments) for job in final_policies.jobs("ranks-ppo1", seeds=[0])] == [
        (8_000_000, ("--preset", "ppo1"))
    ] * 2


def test_seeds_of_the_return_tests_are_rejected(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["final_policies.py", "--seeds", "0", str(final_policies.TEST_SEEDS[0])])
    with pytest.raises(SystemExit) as end:
        final_policies.main()
    assert (
        end.value.code == 2
        and "invalid --seeds 50: tests/returns/test_long_returns.py trains this seed" in capsys.readouterr().err
    )
