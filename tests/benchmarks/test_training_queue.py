"""The queue of long benchmarks: finished trainings are kept, torn lines are not, and scores are normalised as the paper has it."""
import json
import sys
from types import SimpleNamespace

import jobs
import numpy as np
import pytest

sys.path.insert(0, str(jobs.ROOT / "benchmarks"))
import returns  # noqa: E402
import scores  # noqa: E402
import screening  # noqa: E402
import surrogates  # noqa: E402
import training_queue  # noqa: E402
from training_queue import Job, Results, run_queue  # noqa: E402

from baselines_ppo.cli import parse  # noqa: E402

TINY = ("--preset", "paper", "--timesteps-per-actorbatch", "64", "--optim-epochs", "1", "--hid-size", "4")


def line(setting="a", env="E", seed=0, steps=10, score=1.0):
    return {"benchmark": "b", "setting": setting, "env": env, "seed": seed, "steps": steps, "score": score}


def test_a_torn_last_line_is_dropped_and_the_next_one_is_whole(tmp_path):
    results = Results("b", tmp_path)
    results.add(line(seed=0))
    with results.path.open("a") as file:
        file.write('{"benchmark": "b", "sett')
    again = Results("b", tmp_path)
    again.add(line(seed=1))
    assert [one["seed"] for one in map(json.loads, results.path.read_text().splitlines())] == [0, 1]
    assert Job("b", "a", "E", 1, 10) in again and Job("b", "a", "E", 2, 10) not in again and Job("b", "a", "E", 1, 20) not in again


def test_what_has_finished_is_not_run_again_and_a_failure_does_not_stop_the_rest(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training_queue, "RESULTS", tmp_path)
    monkeypatch.setattr(Results.__init__, "__defaults__", (tmp_path,))
    jobs = [Job("b", "tiny", env, 0, 256, TINY) for env in ("NoSuchEnv-v0", "CartPole-v1")]
    assert run_queue(jobs, 2, tmp_path / "work") == 1
    (found,) = Results("b").lines
    assert found["env"] == "CartPole-v1" and found["score"] > 5 and found["settings"]["timesteps_per_actorbatch"] == 64
    assert len(found["git_commit"].removesuffix("+")) == 40
    assert found["curve"][-1][0] == 256
    assert "FAILED: NoSuchEnv-v0" in capsys.readouterr().out
    monkeypatch.setattr(training_queue, "train", lambda job, work: pytest.fail("run again"))
    assert run_queue(jobs[1:], 1, tmp_path / "work") == 0


@pytest.mark.parametrize("begun, now, goes_on", [("a", "a", True), ("a", "b", False), ("a+", "a", False), ("a+", "a+", False), (None, "a", False)])
def test_what_was_under_way_goes_on_only_on_the_code_that_it_began_on(begun, now, goes_on, tmp_path, monkeypatch):
    job, called = Job("b", "tiny", "CartPole-v1", 0, 256, TINY), []
    run_dir = tmp_path / training_queue.folder_name(job)
    (run_dir / "checkpoints").mkdir(parents=True)
    (run_dir / "checkpoints/ckpt-00000025.safetensors").touch()
    if begun:
        run_dir.with_name(f"{run_dir.name}.commit").write_text(begun)
    monkeypatch.setattr(training_queue, "tree_commit", lambda: now)
    monkeypatch.setattr(training_queue.subprocess, "run", lambda words, **_: called.append(words) or SimpleNamespace(returncode=2, stderr="no"))
    with pytest.raises(RuntimeError, match="ended with status 2: no"):
        training_queue.train(job, tmp_path)
    assert ("--resume" in called[0]) == run_dir.exists() == goes_on


def test_table_one_is_seven_tasks_eleven_settings_three_seeds_seed_by_seed():
    found = surrogates.jobs()
    assert len(found) == 7 * 11 * 3 and [job.seed for job in found] == [0] * 77 + [1] * 77 + [2] * 77
    deaths = surrogates.jobs(time_limits="death")
    assert [(job.setting, job.env, job.seed) for job in deaths] == [(job.setting, job.env, job.seed) for job in found]
    assert not {job.key for job in deaths} & {job.key for job in found} and all(job.words[-2:] == ("--bootstrap-time-limits", "false") for job in deaths)


def test_the_bootstrap_tells_apart_what_differs_by_more_than_its_seeds():
    pytest.importorskip("rliable")
    rng = np.random.default_rng(0)
    best, near, far = (mean + 0.1 * rng.standard_normal((3, 7)) for mean in (0.8, 0.78, 0.5))
    # a mean of 21 runs of deviation 0.1 has a deviation of 0.022, and a difference of two 0.031; the resampled ones of three seeds are narrower
    difference, low, high = scores.difference_interval(best, far)
    assert difference == pytest.approx(best.mean() - far.mean()) and 0.3 - 5 * 0.031 < low < difference < high < 0.3 + 5 * 0.031
    _, low, high = scores.difference_interval(best, near)
    assert low < 0 < high


def test_scores_are_normalised_per_task_between_random_and_the_best_run():
    lines = [line("a", "E", 0, score=10), line("a", "F", 0, score=-5), line("b", "E", 0, score=30), line("b", "F", 0, score=-1)]
    matrix = scores.score_matrix(lines, ["a", "b"], ["E", "F"], [0, 1], 10)
    assert matrix.complete(0) and not matrix.complete(1)
    found = scores.normalised(matrix.of([0]), np.array([-10.0, -9.0]))
    assert found["a"].tolist() == [[0.5, 0.5]] and found["b"].tolist() == [[1.0, 1.0]]


def test_what_a_policy_earns_is_in_the_line_and_in_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(training_queue, "RESULTS", tmp_path)
    monkeypatch.setattr(Results.__init__, "__defaults__", (tmp_path,))
    (job,) = returns.jobs(["CartPole-v1"], [100], 256)
    assert run_queue([job], 1, tmp_path / "work") == 0
    (found,) = Results("returns").lines
    assert len(found["deterministic"]) == len(found["stochastic"]) == 100 and found["deterministic"] != found["stochastic"]
    assert all(ret >= 8 for ret in found["stochastic"])
    mean = np.mean(found["deterministic"])
    table = returns.report({"CartPole-v1": (mean - 1, mean + 1)}, [100], 256, "default", None)
    assert f"{mean:,.1f} ± 0.0" in table and "reached" in table and "missed" in table
    assert sorted(path.name for path in tmp_path.iterdir()) == ["returns.jsonl", "work"]


def test_tasks_that_need_it_have_their_own_numbers_and_at_most_two():
    words = {job.env: job.words for job in returns.jobs(returns.NINE, [0])}
    assert words["Swimmer-v4"] == ("--gamma", "0.9999") and words["Hopper-v4"] == ()
    assert all(len(word) <= 4 for word in words.values())
    assert {job.words for job in returns.jobs(returns.PAPER, [0], preset="ppo1")} == {("--preset", "ppo1")}


def test_a_screening_plan_compares_opposites_on_one_task_and_seed():
    plan, chosen = screening.jobs(32, 10), np.array([screening.levels(number) for number in range(32)])
    for one, other in zip(plan[::2], plan[1::2]):
        assert (one.env, one.seed) == (other.env, other.seed) and one.seed >= 1000
    assert (chosen[::2] + chosen[1::2] == 1).all()
    assert [job.env for job in plan[::2]][:5] == [*screening.TASKS, screening.TASKS[0]]
    assert plan[0].words[:4] == ("--preset", "mujoco", "--num-envs", screening.FACTORS["num_envs"][chosen[0, 0]])
    for job in plan:
        typed, _ = parse(["--env", job.env, *job.words])
        assert screening.FACTORS.keys() < typed.keys() and typed["preset"] == "mujoco"
        assert len(training_queue.folder_name(job)) <= 200
    assert len({training_queue.folder_name(job) for job in plan}) == len(plan)


def test_a_screenings_table_has_a_row_a_setting_and_the_means_of_tasks(tmp_path, monkeypatch):
    monkeypatch.setattr(Results.__init__, "__defaults__", (tmp_path,))
    results, lam = Results("screening"), list(screening.FACTORS).index("lam")
    for number, job in enumerate(screening.jobs(64, 10)):
        results.add({"benchmark": job.benchmark, "setting": job.setting, "env": job.env, "seed": job.seed, "steps": 10,
                     "deterministic": [100.0 + 8 * screening.levels(number)[lam]] * 2})
    table = screening.report(10).splitlines()
    assert len(table) == 4 + len(screening.FACTORS) + 1 and table[4].startswith("| lam 0.95 -> 0.9 | +2.00 ± 0.00 | +8 | +8 | +8 | +8 |")
    assert table[-1].count("104 (16)") == 4


def test_a_screening_finds_the_effects_that_there_are():
    chosen, rng = np.array([screening.levels(number) for number in range(64)]), np.random.default_rng(0)
    true = np.zeros(len(screening.FACTORS))
    true[[0, 5]] = 2.0, -1.0
    found = screening.effects(chosen, 100.0 + chosen @ true + 0.5 * rng.standard_normal(64))
    assert (np.abs(found[:, 0] - true) < 2 * found[:, 1]).all() and (found[:, 1] < 0.5).all()
    np.testing.assert_allclose(screening.effects(chosen, chosen @ true)[:, 0], true, atol=1e-9)
    for runs in (14, 26):  # as many rows as factors, and of too few kinds
        with pytest.raises(ValueError, match="cannot tell 14 settings apart"):
            screening.effects(chosen[:runs], np.zeros(runs))
