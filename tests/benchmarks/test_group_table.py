"""final_policies.py: what its tables say of what has finished, and where they are written."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.returns import final_policies, group_table, tuning
from benchmarks.returns.group_table import collapsed, ratio, row, table
from benchmarks.returns.result_files import Job, Results
from benchmarks.returns.training_queue import run_queue

COMMIT = "c" * 40


def line(job, value, spread=(0.0,), **more):
    """A line as a training of the job would leave it, whose policy earns `value`."""
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


def test_what_a_policy_earns_is_in_the_line_and_in_the_table(results_here, tmp_path):
    (job,) = final_policies.jobs("others", ["CartPole-v1"], [100], 256)
    assert run_queue([job], 1, tmp_path / "work") == 0
    (found,) = Results("returns").lines
    assert job in Results("returns")  # as it was trained, it counts
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


def test_a_seed_or_a_task_that_is_named_twice_is_one():
    assert [
        (job.env, job.seed) for job in final_policies.jobs("nine", ["Hopper-v4", "Ant-v4", "Hopper-v4"], [1, 0, 1])
    ] == [("Hopper-v4", 1), ("Ant-v4", 1), ("Hopper-v4", 0), ("Ant-v4", 0)]


@pytest.mark.parametrize(
    "module, words, says",
    [
        (tuning, ["--env", "Hopper-v4", "--seeds", "100", "205"], "seed 205 is in the references of the return tests"),
        (tuning, ["--env", "Hopper-v4", "--seeds", "4"], "seed 4 is for reported results"),
        (final_policies, ["--seeds", "51"], "seed 51 is trained by tests/returns/test_long_returns.py"),
        (final_policies, ["--jobs", "0"], "'0' trainings at once; give 1 or more"),
    ],
)
def test_seeds_that_are_kept_for_something_else_are_refused(module, words, says, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [module.__name__, *words])
    with pytest.raises(SystemExit) as end:
        module.main()
    assert end.value.code == 2 and says in capsys.readouterr().err


def test_a_row_says_what_a_policy_earns_and_which_bars_it_reaches(monkeypatch):
    # by rliable, which the tests do without; no cell below is of it
    monkeypatch.setattr(
        group_table, "interquartile_interval", lambda scores: (float(np.median(scores)), min(scores), max(scores))
    )
    lines = [
        line(job, value)
        for job, value in zip(final_policies.jobs("nine", ["Hopper-v4"], [0, 1, 2]), (2000.0, 3000.0, 4000.0))
    ]
    cells = row(final_policies.GROUPS["nine"], "Hopper-v4", lines, [])
    assert (
        cells["100 deterministic episodes, mean ± deviation over seeds"] == "3,000.0 ± 1,000.0"
    )  # of a sample of three
    assert (cells["best published"], cells["aim"], cells["seeds"]) == ("2,609 reached", "3,128 missed", "3")
    assert (cells["100 stochastic"], cells["last 100 of training"], cells["collapsed"]) == (
        "2,998.0",
        "2,999.0",
        "none",
    )
    pong = final_policies.jobs("long", ["PongNoFrameskip-v4"])[0]
    cells = row(final_policies.GROUPS["long"], pong.env, [line(pong, 19.5)], [])
    assert (cells["hoped for"], cells["steps"], cells["episode length"]) == (
        "18 reached",
        "3,000,000",
        "1,000",
    )  # 18.5 in training, for it is not played


def test_several_ranks_are_held_against_nine_tenths_of_one():
    ranks, one = final_policies.jobs("ranks", ["Hopper-v4"], [0]), final_policies.jobs("nine", ["Hopper-v4"], [0])
    assert (ranks[0].ranks, ranks[0].setting, one[0].setting) == (8, "default, 8 ranks", "default")
    for value, words in ((2700.0, "0.90 of 3,000.0 reached"), (2690.0, "0.90 of 3,000.0 missed")):
        cells = row(final_policies.GROUPS["ranks"], "Hopper-v4", [line(ranks[0], value)], [line(one[0], 3000.0)])
        assert cells["of one rank's, 0.9 or more"] == words
    assert ratio(1.0, []) == "one rank has not finished"
    assert "One rank: default, 1,000,000 steps." in table(
        final_policies.GROUPS["ranks"], [(ranks[0], line(ranks[0], 1.0))], [line(one[0], 1.0)], 0
    )


def test_a_policy_that_keeps_less_than_half_of_what_was_gained_has_collapsed():
    (job,) = final_policies.jobs("nine", ["Reacher-v4"], [0])
    gained = {"curve": [[1, -40.0], [2, -6.0], [3, -20.0]]}
    assert not collapsed(line(job, -22.9, **gained)) and collapsed(
        line(job, -23.1, **gained)
    )  # half way from -40 to -6: -23
    assert "| seed 0 |" in table(final_policies.GROUPS["nine"], [(job, line(job, -30.0, **gained))], [], 0)


def test_beside_the_table_stand_own_numbers_commits_and_what_is_left_out():
    jobs = final_policies.jobs("nine", ["Swimmer-v4", "Hopper-v4"], [0])
    text = table(
        final_policies.GROUPS["nine"],
        [(job, line(job, 1.0, git_commit=COMMIT + "+" * (job.env == "Hopper-v4"))) for job in jobs],
        [],
        3,
    )
    assert "Numbers of a task's own: Swimmer-v4 `--gamma 0.9999 --lam 0.995`." in text
    assert "Commits: cccccccccc (1 runs), cccccccccc+ (1 runs), a + where files had changed since." in text
    assert "Left out: 3 runs of other settings than stand now." in text


def test_a_seed_of_a_table_does_not_take_its_place_nor_do_runs_of_other_settings_enter_it(results_here, monkeypatch):
    monkeypatch.setattr(
        final_policies, "curve_figure", lambda *args, **more: None
    )  # which, with the bootstrap, would take nine tenths of the time
    monkeypatch.setattr("benchmarks.returns.group_table.interquartile", lambda values: "")
    results = Results("returns")
    for job in final_policies.jobs("paper"):
        results.add(line(job, 1000.0 + job.seed, spread=(-1.0, 1.0)))
    assert "| 5 | 1,002.0 ± 1.6 |" in final_policies.report("paper", final_policies.jobs("paper"))
    whole = (results_here / "returns-paper-table.md").read_text()
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
    assert (results_here / "returns-paper-table.md").read_text() == whole
    stale = replace(
        final_policies.jobs("paper", ["Hopper-v4"], [0])[0], words=("--preset", "paper")
    )  # as if the preset had been another one then
    results.add(line(stale, 9.0))
    assert "| Hopper-v4 | 5 |" in final_policies.report("paper", final_policies.jobs("paper"))


@pytest.mark.parametrize("name", final_policies.GROUPS)
def test_own_numbers_are_at_most_two_a_task_beside_one_preset(name):
    for job in final_policies.jobs(name):
        settings = dict(zip(job.words[::2], job.words[1::2]))
        assert len(settings.keys() - {"--preset"}) <= 2 and job.by_settings
    assert {job.words for job in final_policies.jobs("paper", seeds=[0])} == {("--preset", "ppo1")}
    assert (
        final_policies.jobs("paper", ["Hopper-v4"], [0], more="bootstrap_time_limits=false")[0].setting
        == "ppo1 bootstrap_time_limits=false"
    )
    nine = {job.env: job for job in final_policies.jobs("nine", seeds=[0])}
    assert all(
        Job("", "", env, 0, 10, ("--preset", "mujoco", *words)).settings | {"num_timesteps": 1_000_000}
        == nine[env].settings
        for env, words in (
            ("Hopper-v4", ()),
            ("Swimmer-v4", ("--gamma", "0.9999", "--lam", "0.995")),
            ("Humanoid-v4", ()),
        )
    )


def test_long_runs_have_their_own_lengths_and_presets():
    pong, humanoid = final_policies.jobs("long")
    assert (pong.steps, pong.seed, pong.episodes, pong.words) == (3_000_000, 0, 0, ())
    assert (humanoid.steps, humanoid.episodes) == (10_000_000, 100) and humanoid.settings[
        "timesteps_per_actorbatch"
    ] == 4096
    assert [(job.steps, job.words) for job in final_policies.jobs("ranks-ppo1", seeds=[0])] == [
        (8_000_000, ("--preset", "ppo1"))
    ] * 2


def test_seeds_of_the_return_tests_are_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["final_policies.py", "--seeds", "0", str(final_policies.TEST_SEEDS[0])])
    with pytest.raises(SystemExit) as end:
        final_policies.main()
    assert end.value.code == 2 and "seed 50 is trained by tests/returns/test_long_returns.py" in capsys.readouterr().err
