"""References of the return tests: the false alarm rate of their bound, and the single code version that they are made of."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from reference_bounds import FALSE_ALARMS, SLACK, chance, enough, prediction_bound, rank_of, read

from benchmarks.returns import final_policies, references
from benchmarks.returns.result_files import ResultFile
from common.errors import UserError

DISTRIBUTIONS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "skewed to low scores": lambda rng, shape: -np.exp(0.8 * rng.standard_normal(shape)),
    "one in twenty fails": lambda rng, shape: rng.standard_normal(shape) - 100 * (rng.random(shape) < 0.05),
    "one in fifty fails": lambda rng, shape: rng.standard_normal(shape) - 100 * (rng.random(shape) < 0.02),
    "few different scores": lambda rng, shape: rng.integers(0, 12, shape),
}


def test_false_alarm_probability_equals_that_over_all_orderings():
    for n, runs, rank in ((5, 2, 1), (5, 2, 3), (6, 3, 2)):
        orders = list(itertools.combinations(range(n + runs), runs))  # positions of the new scores
        below = [sum(place not in new for place in range(max(new))) < rank for new in orders]
        assert chance(rank, n, runs) == np.mean(below)
    assert (rank_of(100, 3, 0.001), rank_of(15, 3, FALSE_ALARMS / 9), enough(3, FALSE_ALARMS / 9)) == (9, 0, 16)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_false_alarm_rate_of_ten_tasks_is_below_one_percent_for_any_distribution(name):
    runs, tasks, suites = 3, 10, 60_000
    rank = rank_of(100, runs, FALSE_ALARMS / tasks)
    assert tasks * chance(rank, 100, runs) < FALSE_ALARMS
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(3):  # in three parts, to save memory
        old, new = (DISTRIBUTIONS[name](rng, (suites // 3, n)) for n in (100, runs))
        alarms += (new.max(axis=1) < np.partition(old, rank - 1, axis=1)[:, rank - 1]).sum()
    limit = chance(rank, 100, runs)
    assert alarms / suites < limit + 4 * np.sqrt(limit / suites)  # four standard deviations of a count of about 56


def test_bound_is_a_low_score_with_a_margin_if_all_scores_are_equal():
    scores = np.random.default_rng(0).permutation(np.arange(100.0))
    assert prediction_bound(scores, 3, 0.001) == 8  # the ninth lowest
    assert prediction_bound(np.full(100, -50.0), 3, 0.001) == pytest.approx(-50 * (1 + SLACK))
    with pytest.raises(ValueError, match="15 seeds are too few for a bound on 3 new ones; it takes 17"):
        prediction_bound(scores[:15], 3, 0.001)


def test_finished_seeds_are_reused_only_for_the_same_code_and_incomplete_lines_are_skipped(
    tmp_path, monkeypatch, capsys
):
    trained = []
    monkeypatch.setattr(references, "ProcessPoolExecutor", lambda *args: ThreadPoolExecutor(1))
    monkeypatch.setattr(references, "train", lambda name, seed: trained.append(seed) or float(seed))
    monkeypatch.setattr(references.reference_bounds, "FOLDER", tmp_path)
    monkeypatch.setattr(references.reference_bounds.write, "__defaults__", (tmp_path,))
    provenance = {"git_commit": "c" * 40, "versions": {"numpy": "2"}}
    partial = ResultFile("references", tmp_path)
    partial.add({"task": "ring", "seed": 100, "score": 1.0, "code": references.code_hash(provenance["versions"])})
    partial.add({"task": "ring", "seed": 101, "score": 1.0, "code": "of other files"})
    partial.add(
        {"task": "a former task", "seed": 102, "score": 1.0, "code": references.code_hash(provenance["versions"])}
    )
    with partial.path.open("a") as file:
        file.write('{"task": "ring", "se')
    references.make_small_references(["ring"], range(100, 103), 1, provenance, ResultFile("references", tmp_path))
    assert trained == [101, 102] and "ring: 68 ± 58 over 3 seeds, from 1 to 102" in capsys.readouterr().out
    found = read(tmp_path)["ring"]
    assert (
        found["scores"] == {"100": 1.0, "101": 101.0, "102": 102.0}
        and found["settings"]["preset"] == "classic"
        and found["git_commit"] == "c" * 40
    )
    assert "bound" not in found


def test_uncommitted_changes_prevent_writing_references(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["references.py"])
    monkeypatch.setattr(references, "tree_commit", lambda: "c" * 40 + "+")
    monkeypatch.setattr(references, "make_small_references", lambda *args, **more: pytest.fail("trained"))
    with pytest.raises(SystemExit) as end:
        references.main()
    assert end.value.code == 2 and "commit them first" in capsys.readouterr().err


def test_failed_training_does_not_lose_the_others(tmp_path, monkeypatch):
    def train(name, seed):
        if seed == 100:
            raise RuntimeError("broken")
        return float(seed)

    monkeypatch.setattr(references, "ProcessPoolExecutor", lambda *args: ThreadPoolExecutor(1))
    monkeypatch.setattr(references, "train", train)
    partial = ResultFile("references", tmp_path)
    with pytest.raises(RuntimeError, match="broken"):
        references.make_small_references(
            ["ring"], range(100, 103), 1, {"git_commit": "c" * 40, "versions": {}}, partial
        )
    assert sorted(line["seed"] for line in ResultFile("references", tmp_path).lines) == [101, 102]


def line(job, settings=(), **more):
    """A line of a training of Hopper; its policy scores 1000 times its seed."""
    return {
        "benchmark": "returns",
        "setting": job.setting,
        "env": job.env,
        "seed": job.seed,
        "steps": job.steps,
        "git_commit": "c" * 40,
        "versions": {},
        "settings": job.settings | {"preset": "mujoco"} | dict(settings),
        "deterministic": [1000.0 * job.seed] * 100,
    } | more


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"git_commit": "c" * 40 + "+"}, "seed 1 was trained with uncommitted changes"),
        ({"versions": {"mujoco": "9"}}, "seeds 1 and 2 were trained with different library versions"),
    ],
)
def test_reference_of_a_million_steps_requires_committed_code_and_equal_library_versions(
    changed, message, results_here, tmp_path
):
    results = ResultFile("returns")
    for job in final_policies.jobs("nine", ["Hopper-v4"], range(3)):
        results.add(line(job, **(changed if job.seed == 1 else {})))
    with pytest.raises(UserError, match=message):
        references.write_million_references(results, tmp_path / "million")
    assert not (tmp_path / "million").exists()


def test_references_of_a_million_steps_use_all_reserved_seeds_with_the_current_settings(results_here, tmp_path, capsys):
    results = ResultFile("returns")
    for job in final_policies.jobs("nine", ["Hopper-v4"], [0, 1, 2, 77]):
        results.add(line(job, {"clip_param": 0.3} if job.seed == 1 else {}))
    references.write_million_references(results, tmp_path / "million")
    found = read(tmp_path / "million")
    assert found.keys() == {"Hopper-v4"} and found["Hopper-v4"]["scores"] == {"0": 0.0, "2": 2000.0}
    assert (
        found["Hopper-v4"]["preset"] == "mujoco"
        and found["Hopper-v4"]["settings"] == final_policies.jobs("nine", ["Hopper-v4"], [0])[0].settings
    )
    assert "Swimmer-v4: no seed has finished with the current settings" in capsys.readouterr().out
