"""The queue of the long benchmarks keeps finished trainings, and scores are normalised as in the paper."""

import fcntl
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.paper import surrogates
from benchmarks.returns import command_line, final_policies, scores, training_queue, tuning
from benchmarks.returns.result_files import KERNELS, ResultFile, TrainingJob
from benchmarks.returns.training_queue import run_queue

TINY = ("--preset", "paper", "--timesteps-per-actorbatch", "64", "--optim-epochs", "1", "--hid-size", "4")


def line(setting="a", env="E", seed=0, steps=10, score=1.0):
    return {"benchmark": "b", "setting": setting, "env": env, "seed": seed, "steps": steps, "score": score}


def test_finished_trainings_are_not_repeated_and_a_failure_does_not_stop_the_others(
    results_here, tmp_path, monkeypatch, capsys
):
    jobs = [TrainingJob("b", "tiny", env, 0, 256, TINY) for env in ("NoSuchEnv-v0", "CartPole-v1")]
    assert run_queue(jobs, 2, tmp_path / "work") == 1
    (found,) = ResultFile("b").lines
    assert found["env"] == "CartPole-v1" and found["score"] > 5 and found["settings"]["timesteps_per_actorbatch"] == 64
    assert len(found["git_commit"].removesuffix("+")) == 40
    # CartPole's reward is 1 per step
    assert found["curve"][-1][0] == 256 and found["length"] == pytest.approx(found["score"])
    assert "FAILED: NoSuchEnv-v0" in capsys.readouterr().out
    monkeypatch.setattr(training_queue, "train", lambda *args: pytest.fail("run again"))
    assert run_queue(jobs[1:], 1, tmp_path / "work") == 0


def test_trainings_finished_by_another_queue_during_the_wait_are_not_repeated(
    results_here, tmp_path, monkeypatch, capsys
):
    job = TrainingJob("b", "a", "E", 0, 10)

    def flock(file, how):
        if how & fcntl.LOCK_NB:
            raise BlockingIOError
        ResultFile("b").add(line())  # the last training of the other queue

    monkeypatch.setattr(
        training_queue, "fcntl", SimpleNamespace(flock=flock, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB)
    )
    monkeypatch.setattr(training_queue, "train", lambda *args: pytest.fail("run again"))
    assert run_queue([job], 1, tmp_path / "work") == 0
    assert len(ResultFile("b").lines) == 1 and "1 trainings, 1 already finished" in capsys.readouterr().out


@pytest.mark.parametrize("workers, expected", [(1, False), (2, True)])
def test_simultaneous_trainings_use_one_environment_thread_each(workers, expected, results_here, tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(
        training_queue.subprocess,
        "run",
        lambda words, **_: called.append(words) or SimpleNamespace(returncode=2, stderr="", stdout=""),
    )
    assert run_queue([TrainingJob("b", "a", "E", 0, 10)], workers, tmp_path / "work") == 1
    assert ("--env-threads" in called[-1]) == expected


KERNEL_VARIABLES = "TF_NUM_INTRAOP_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "XLA_FLAGS"


@pytest.mark.parametrize(
    "kernels, expected",
    [
        ("own", ("1", None, None, None)),
        ("haswell", ("1", None, "Haswell", None)),
        ("vector-512", ("1", None, None, "--xla_cpu_prefer_vector_width=512")),
        ("two-threads", ("2", "2", None, None)),
    ],
)
def test_kernels_are_environment_variables_of_training_and_evaluation(kernels, expected, tmp_path, monkeypatch):
    found = []
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX")  # has no effect on what is called own kernels
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.setattr(training_queue, "tree_commit", lambda: "a")
    monkeypatch.setattr(
        training_queue.subprocess,
        "run",
        lambda words, env, **_: found.append(env) or SimpleNamespace(returncode=2, stderr="no"),
    )
    job = tuning.make_job("lam=0.9", "Hopper-v4", 300, 256, kernels=kernels)
    for run in (training_queue.train, training_queue.evaluate_final_policy):
        with pytest.raises(RuntimeError, match="ended with status 2: no"):
            run(*((job, tmp_path) if run is training_queue.train else (tmp_path, job)))
    assert [tuple(env.get(name) for name in KERNEL_VARIABLES) for env in found] == [expected] * 2


@pytest.mark.parametrize("kernels", KERNELS)
def test_trainings_with_other_kernels_are_other_rows(kernels):
    job = tuning.make_job("lam=0.9", "Hopper-v4", 300, 256, kernels=kernels)
    label = "lam=0.9" if kernels == "own" else f"lam=0.9, {kernels} kernels"
    assert job.setting == label
    line = {"benchmark": "tuning", "setting": label, "env": "Hopper-v4", "seed": 300, "steps": 256}
    assert tuning.row_name(line | {"settings": job.settings, "kernels": kernels}) == label
    (reported,) = final_policies.jobs("nine", ["Hopper-v4"], [0], kernels=kernels)
    assert reported.setting == label.replace("lam=0.9", "default")


def test_kernels_that_this_processor_cannot_run_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(command_line, "cpu_flags", lambda: frozenset({"avx2", "fma"}))
    monkeypatch.setattr("sys.argv", ["tuning", "--env", "Hopper-v4", "--kernels", "vector-512"])
    with pytest.raises(SystemExit) as end:
        tuning.main()
    assert end.value.code == 2
    assert "invalid --kernels vector-512: this processor lacks avx512f" in capsys.readouterr().err


@pytest.mark.parametrize(
    "start_commit, commit, resumes",
    [("a", "a", True), ("a", "b", False), ("a+", "a", False), ("a+", "a+", False), (None, "a", False)],
)
def test_unfinished_training_resumes_only_with_the_code_that_started_it(
    start_commit, commit, resumes, tmp_path, monkeypatch
):
    job, called = TrainingJob("b", "tiny", "CartPole-v1", 0, 256, TINY), []
    run_dir = tmp_path / training_queue.directory_name(job)
    (run_dir / "checkpoints").mkdir(parents=True)
    (run_dir / "checkpoints/ckpt-00000025.safetensors").touch()
    if start_commit:
        run_dir.with_name(f"{run_dir.name}.commit").write_text(start_commit)
    monkeypatch.setattr(training_queue, "tree_commit", lambda: commit)
    monkeypatch.setattr(
        training_queue.subprocess,
        "run",
        lambda words, **_: called.append(words) or SimpleNamespace(returncode=2, stderr="no"),
    )
    with pytest.raises(RuntimeError, match="ended with status 2: no"):
        training_queue.train(job, tmp_path)
    assert ("--resume" in called[0]) == run_dir.exists() == resumes


def test_table_1_has_seven_tasks_eleven_settings_and_three_seeds_in_seed_order():
    found = surrogates.jobs()
    assert len(found) == 7 * 11 * 3 and [job.seed for job in found] == [0] * 77 + [1] * 77 + [2] * 77
    terminated = surrogates.jobs(time_limits="death")
    assert [(job.setting, job.env, job.seed) for job in terminated] == [
        (job.setting, job.env, job.seed) for job in found
    ]
    assert not {job.key for job in terminated} & {job.key for job in found} and all(
        job.arguments[-2:] == ("--bootstrap-time-limits", "false") for job in terminated
    )


def test_partial_comparison_does_not_replace_the_complete_report():
    tasks = surrogates.TASKS
    assert (
        command_line.comparison_path("x", tasks, tasks, 1_000_000).name
        == command_line.comparison_path("x", tasks, tasks, 1_000_000, [2, 1, 0, 3]).name
        == "x"
    )
    for part in ((tasks[:1], tasks, 1_000_000), (tasks, tasks, 1000), (tasks, tasks, 1_000_000, [0])):
        assert command_line.comparison_path("x", *part).name == "x-part"


def test_bootstrap_interval_excludes_zero_for_a_difference_larger_than_the_seed_noise():
    pytest.importorskip("rliable")
    rng = np.random.default_rng(0)
    best, near, far = (mean + 0.1 * rng.standard_normal((3, 7)) for mean in (0.8, 0.78, 0.5))
    # The mean of 21 runs with standard deviation 0.1 has a standard error of 0.022, a difference of two means 0.031.
    # Bootstrap intervals of three seeds are narrower.
    difference, low, high = scores.difference_interval(best, far)
    assert (
        difference == pytest.approx(best.mean() - far.mean())
        and 0.3 - 5 * 0.031 < low < difference < high < 0.3 + 5 * 0.031
    )
    _, low, high = scores.difference_interval(best, near)
    assert low < 0 < high


def test_bootstrap_is_reproducible_and_leaves_the_global_generator_unchanged():
    pytest.importorskip("rliable")
    table = np.random.default_rng(0).normal(size=(3, 7))
    found = []
    for seed in (1, 2):
        np.random.seed(seed)
        found.append((scores.mean_interval(table), scores.difference_interval(table + 0.1, table)))
        after = np.random.random()
        np.random.seed(seed)
        assert after == np.random.random()
    assert found[0] == found[1]


def test_scores_are_normalised_per_task_from_random_policy_to_best_run():
    lines = [
        line("a", "E", 0, score=10),
        line("a", "F", 0, score=-5),
        line("b", "E", 0, score=30),
        line("b", "F", 0, score=-1),
    ]
    matrix = scores.score_matrix(lines, ["a", "b"], ["E", "F"], [0, 1], 10)
    assert matrix.is_complete(0) and not matrix.is_complete(1)
    found = scores.normalised(matrix.select([0]), np.array([-10.0, -9.0]))
    assert found["a"].tolist() == [[0.5, 0.5]] and found["b"].tolist() == [[1.0, 1.0]]
