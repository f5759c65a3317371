"""Comparison of settings: statistics against hand calculation, and the table of `tuning.py --control`."""

import json
import math

import pytest

from benchmarks import paths
from benchmarks.returns import scores as statistics
from benchmarks.returns import tuning
from benchmarks.returns.result_files import ResultFile
from benchmarks.returns.scores import lowest_quarter_mean, paired_difference, relative_to_targets, summarise
from benchmarks.returns.tuning import format_comparison


@pytest.mark.parametrize(
    "scores, expected",
    [
        ([5.0], 5.0),
        ([3.0, 1.0, 2.0], 1.0),
        ([4.0, 1.0, 3.0, 2.0], 1.0),
        ([9, 1, 3, 8, 7, 6, 5, 2], 1.5),
        (range(5), 0.5),
    ],
)
def test_lowest_quarter_is_rounded_up(scores, expected):
    assert lowest_quarter_mean(scores) == expected


@pytest.fixture
def untrained(monkeypatch):
    """Untrained policies score 200 on Hopper and -60 on Reacher."""
    monkeypatch.setattr(
        statistics, "random_scores", lambda tasks: [{"Hopper-v4": 200.0, "Reacher-v4": -60.0}[task] for task in tasks]
    )


def test_targets_become_one_and_untrained_policies_zero(untrained):
    scores = {("Hopper-v4", 1): 3200.0, ("Hopper-v4", 2): 1700.0, ("Reacher-v4", 1): -4.0, ("Reacher-v4", 2): -60.0}
    assert relative_to_targets(scores) == pytest.approx(dict(zip(scores, (1.0, 0.5, 1.0, 0.0))))


def test_tasks_have_equal_weights():
    scores = {("a", seed): x for seed, x in enumerate((0.2, 0.9, 1.0, 1.1))} | {("b", 0): 0.4, ("b", 1): 0.8}
    found = summarise(scores)
    assert found.runs == 6
    # one of four values is cut off at each end; of two values none
    assert found.middle == pytest.approx((0.95 + 0.6) / 2)
    assert found.lowest_quarter == pytest.approx((0.2 + 0.4) / 2)
    assert found.lowest == 0.2
    assert found.failed == pytest.approx((1 / 4 + 1 / 2) / 2)


def test_differences_are_taken_within_pairs_and_tasks_have_equal_weights():
    control = {("a", 0): 0.5, ("a", 1): 1.0, ("b", 0): 0.2, ("b", 1): 0.4, ("b", 2): 0.6}
    scores = {("a", 0): 0.6, ("a", 1): 1.3, ("b", 0): 0.3, ("b", 1): 0.5, ("b", 2): 0.7, ("b", 3): 7.0}
    found = paired_difference(scores, control)
    # differences 0.1 and 0.3 on a: variance 0.02, of their mean 0.01; always 0.1 on b
    assert (found.pairs, found.mean, found.error) == (5, pytest.approx(0.15), pytest.approx(0.1 / 2))
    assert math.isnan(paired_difference({("a", 0): 0.6}, control).error)
    assert paired_difference({("c", 0): 0.6}, control) is None


def test_table_is_ordered_by_the_lowest_quarter_and_marks_what_is_incomplete(untrained):
    scores = {
        "lam=0.9": {("Hopper-v4", 900): 1700.0, ("Hopper-v4", 901): 3200.0},
        "lam=0.95": {("Hopper-v4", 900): 3200.0, ("Hopper-v4", 901): 3200.0},
        "lam=1": {("Hopper-v4", 902): 6200.0},
    }
    header, _, *rows = format_comparison(scores, "lam=0.9").splitlines()[:5]
    assert [[cell.strip() for cell in row.strip("|").split("|")] for row in rows] == [
        ["lam=0.95", "2", "1.000", "1.000", "1.000", "0%", "+0.250 ± 0.250", "2"],
        ["lam=0.9", "2", "0.750", "0.500", "0.500", "0%", "control", ""],
        ["lam=1 (incomplete)", "1", "2.000", "2.000", "2.000", "0%", "", ""],
    ]


def test_task_without_a_target_is_refused_before_any_training(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tuning", "--env", "Hopper-v5", "--control", "lam=0.9"])
    with pytest.raises(SystemExit) as end:
        tuning.main()
    assert end.value.code == 2
    assert "invalid --control with --env Hopper-v5: this task has no target" in capsys.readouterr().err


def test_untrained_scores_of_all_targets_are_committed():
    known = json.loads((paths.RESULTS / "random.json").read_text())
    assert set(known) >= set(statistics.TARGETS)


def test_comparison_uses_finished_trainings_of_the_given_seeds(untrained, results_here):
    results = ResultFile("tuning")
    for text, seed, value in (("lam=0.9", 900, 1700.0), ("lam=0.95", 900, 3200.0), ("lam=0.95", 901, 200.0)):
        job = tuning.make_job(text, "Hopper-v4", seed, 1_000_000)
        line = {"benchmark": "tuning", "setting": text, "env": "Hopper-v4", "seed": seed, "steps": 1_000_000}
        results.add(line | {"score": 0.0, "settings": job.settings, "deterministic": [value] * 20})
    table = tuning.compare(["lam=0.95", "lam=1"], "lam=0.9", ["Hopper-v4"], [900], 1_000_000)
    assert "| lam=0.95 | 1 | 1.000 | 1.000 | 1.000 | 0% | +0.500 | 1 |" in table
    assert table.endswith("no training has finished: lam=1")
    assert "has finished yet" in tuning.compare(["lam=0.95"], "lam=1", ["Hopper-v4"], [900], 1_000_000)
