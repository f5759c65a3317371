"""The queue of long benchmarks: finished trainings are kept, and scores are normalised as the paper has it."""

import fcntl
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.paper import surrogates
from benchmarks.returns import scores, training_queue
from benchmarks.returns.training_queue import Job, Results, run_queue

TINY = ("--preset", "paper", "--timesteps-per-actorbatch", "64", "--optim-epochs", "1", "--hid-size", "4")


def line(setting="a", env="E", seed=0, steps=10, score=1.0):
    return {"benchmark": "b", "setting": setting, "env": env, "seed": seed, "steps": steps, "score": score}


def test_what_has_finished_is_not_run_again_and_a_failure_does_not_stop_the_rest(
    results_here, tmp_path, monkeypatch, capsys
):
    jobs = [Job("b", "tiny", env, 0, 256, TINY) for env in ("NoSuchEnv-v0", "CartPole-v1")]
    assert run_queue(jobs, 2, tmp_path / "work") == 1
    (found,) = Results("b").lines
    assert found["env"] == "CartPole-v1" and found["score"] > 5 and found["settings"]["timesteps_per_actorbatch"] == 64
    assert len(found["git_commit"].removesuffix("+")) == 40
    assert found["curve"][-1][0] == 256 and found["length"] == pytest.approx(found["score"])  # CartPole pays 1 a step
    assert "FAILED: NoSuchEnv-v0" in capsys.readouterr().out
    monkeypatch.setattr(training_queue, "train", lambda *args: pytest.fail("run again"))
    assert run_queue(jobs[1:], 1, tmp_path / "work") == 0


def test_what_another_queue_finishes_while_this_one_waits_for_it_is_not_run_again(
    results_here, tmp_path, monkeypatch, capsys
):
    job = Job("b", "a", "E", 0, 10)

    def flock(file, how):
        if how & fcntl.LOCK_NB:
            raise BlockingIOError
        Results("b").add(line())  # the other's last

    monkeypatch.setattr(
        training_queue, "fcntl", SimpleNamespace(flock=flock, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB)
    )
    monkeypatch.setattr(training_queue, "train", lambda *args: pytest.fail("run again"))
    assert run_queue([job], 1, tmp_path / "work") == 0
    assert len(Results("b").lines) == 1 and "1 trainings, 1 of them done already" in capsys.readouterr().out


@pytest.mark.parametrize("at_once, words", [(1, False), (2, True)])
def test_of_several_trainings_at_once_each_has_one_thread_for_its_environments(
    at_once, words, results_here, tmp_path, monkeypatch
):
    called = []
    monkeypatch.setattr(
        training_queue.subprocess,
        "run",
        lambda words, **_: called.append(words) or SimpleNamespace(returncode=2, stderr="", stdout=""),
    )
    assert run_queue([Job("b", "a", "E", 0, 10)], at_once, tmp_path / "work") == 1
    assert ("--env-threads" in called[-1]) == words


@pytest.mark.parametrize(
    "begun, now, goes_on",
    [("a", "a", True), ("a", "b", False), ("a+", "a", False), ("a+", "a+", False), (None, "a", False)],
)
def test_what_was_under_way_goes_on_only_on_the_code_that_it_began_on(begun, now, goes_on, tmp_path, monkeypatch):
    job, called = Job("b", "tiny", "CartPole-v1", 0, 256, TINY), []
    run_dir = tmp_path / training_queue.folder_name(job)
    (run_dir / "checkpoints").mkdir(parents=True)
    (run_dir / "checkpoints/ckpt-00000025.safetensors").touch()
    if begun:
        run_dir.with_name(f"{run_dir.name}.commit").write_text(begun)
    monkeypatch.setattr(training_queue, "tree_commit", lambda: now)
    monkeypatch.setattr(
        training_queue.subprocess,
        "run",
        lambda words, **_: called.append(words) or SimpleNamespace(returncode=2, stderr="no"),
    )
    with pytest.raises(RuntimeError, match="ended with status 2: no"):
        training_queue.train(job, tmp_path)
    assert ("--resume" in called[0]) == run_dir.exists() == goes_on


def test_table_one_is_seven_tasks_eleven_settings_three_seeds_seed_by_seed():
    found = surrogates.jobs()
    assert len(found) == 7 * 11 * 3 and [job.seed for job in found] == [0] * 77 + [1] * 77 + [2] * 77
    deaths = surrogates.jobs(time_limits="death")
    assert [(job.setting, job.env, job.seed) for job in deaths] == [(job.setting, job.env, job.seed) for job in found]
    assert not {job.key for job in deaths} & {job.key for job in found} and all(
        job.words[-2:] == ("--bootstrap-time-limits", "false") for job in deaths
    )


def test_a_small_comparison_does_not_take_the_whole_ones_place():
    tasks = surrogates.TASKS
    assert (
        training_queue.report_name("x", tasks, tasks, 1_000_000).name
        == training_queue.report_name("x", tasks, tasks, 1_000_000, [2, 1, 0, 3]).name
        == "x"
    )
    for part in ((tasks[:1], tasks, 1_000_000), (tasks, tasks, 1000), (tasks, tasks, 1_000_000, [0])):
        assert training_queue.report_name("x", *part).name == "x-part"


def test_the_bootstrap_tells_apart_what_differs_by_more_than_its_seeds():
    pytest.importorskip("rliable")
    rng = np.random.default_rng(0)
    best, near, far = (mean + 0.1 * rng.standard_normal((3, 7)) for mean in (0.8, 0.78, 0.5))
    # a mean of 21 runs of deviation 0.1 has a deviation of 0.022, and a difference of two 0.031; the resampled ones of three seeds are narrower
    difference, low, high = scores.difference_interval(best, far)
    assert (
        difference == pytest.approx(best.mean() - far.mean())
        and 0.3 - 5 * 0.031 < low < difference < high < 0.3 + 5 * 0.031
    )
    _, low, high = scores.difference_interval(best, near)
    assert low < 0 < high


def test_an_interval_is_the_same_whenever_it_is_asked_for_and_draws_from_nobodys_generator():
    pytest.importorskip("rliable")
    table = np.random.default_rng(0).normal(size=(3, 7))
    found = []
    for seed in (1, 2):
        np.random.seed(seed)
        found.append((scores.bootstrap_interval(table), scores.difference_interval(table + 0.1, table)))
        after = np.random.random()
        np.random.seed(seed)
        assert after == np.random.random()
    assert found[0] == found[1]


def test_scores_are_normalised_per_task_between_random_and_the_best_run():
    lines = [
        line("a", "E", 0, score=10),
        line("a", "F", 0, score=-5),
        line("b", "E", 0, score=30),
        line("b", "F", 0, score=-1),
    ]
    matrix = scores.score_matrix(lines, ["a", "b"], ["E", "F"], [0, 1], 10)
    assert matrix.complete(0) and not matrix.complete(1)
    found = scores.normalised(matrix.of([0]), np.array([-10.0, -9.0]))
    assert found["a"].tolist() == [[0.5, 0.5]] and found["b"].tolist() == [[1.0, 1.0]]
