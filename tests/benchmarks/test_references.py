"""References of the return tests: their bound gives as few false alarms as it says, and they are of one state of the code."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from reference_bounds import FALSE_ALARMS, SLACK, chance, enough, prediction_bound, rank_of, read

from benchmarks.returns import final_policies, references
from benchmarks.returns.result_files import Results
from common.errors import UserError

DISTRIBUTIONS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "a few seeds far below": lambda rng, shape: -np.exp(0.8 * rng.standard_normal(shape)),
    "one in twenty fails": lambda rng, shape: rng.standard_normal(shape) - 100 * (rng.random(shape) < 0.05),
    "one in fifty fails": lambda rng, shape: rng.standard_normal(shape) - 100 * (rng.random(shape) < 0.02),
    "few different scores": lambda rng, shape: rng.integers(0, 12, shape),
}


def test_the_chance_is_that_of_all_orders_of_old_and_new_scores():
    for n, runs, rank in ((5, 2, 1), (5, 2, 3), (6, 3, 2)):
        orders = list(itertools.combinations(range(n + runs), runs))  # where the new ones stand among all
        below = [sum(place not in new for place in range(max(new))) < rank for new in orders]
        assert chance(rank, n, runs) == np.mean(below)
    assert (rank_of(100, 3, 0.001), rank_of(15, 3, FALSE_ALARMS / 9), enough(3, FALSE_ALARMS / 9)) == (9, 0, 16)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_whatever_the_scores_are_drawn_from_ten_tasks_cry_wolf_less_than_once_in_a_hundred_suites(name):
    runs, tasks, suites = 3, 10, 60_000
    rank = rank_of(100, runs, FALSE_ALARMS / tasks)
    assert tasks * chance(rank, 100, runs) < FALSE_ALARMS
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(3):  # of a third each, to save memory
        old, new = (DISTRIBUTIONS[name](rng, (suites // 3, n)) for n in (100, runs))
        alarms += (new.max(axis=1) < np.partition(old, rank - 1, axis=1)[:, rank - 1]).sum()
    limit = chance(rank, 100, runs)
    assert alarms / suites < limit + 4 * np.sqrt(limit / suites)  # four deviations of a count of some 56


def test_the_bound_is_a_low_score_and_leaves_room_where_all_are_the_same():
    scores = np.random.default_rng(0).permutation(np.arange(100.0))
    assert prediction_bound(scores, 3, 0.001) == 8  # the ninth lowest
    assert prediction_bound(np.full(100, -50.0), 3, 0.001) == pytest.approx(-50 * (1 + SLACK))
    with pytest.raises(ValueError, match="15 seeds are too few for a bound on 3 new ones; it takes 17"):
        prediction_bound(scores[:15], 3, 0.001)


def test_seeds_that_finished_count_while_the_code_is_the_same_and_torn_lines_do_not(tmp_path, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(references, "ProcessPoolExecutor", lambda *args: ThreadPoolExecutor(1))
    monkeypatch.setattr(references, "train", lambda name, seed: trained.append(seed) or float(seed))
    monkeypatch.setattr(references.reference_bounds, "FOLDER", tmp_path)
    monkeypatch.setattr(references.reference_bounds.write, "__defaults__", (tmp_path,))
    made_by = {"git_commit": "c" * 40, "versions": {"numpy": "2"}}
    partial = Results("references", tmp_path)
    partial.add({"task": "ring", "seed": 100, "score": 1.0, "code": references.code(made_by["versions"])})
    partial.add({"task": "ring", "seed": 101, "score": 1.0, "code": "of other files"})
    partial.add({"task": "a task of old", "seed": 102, "score": 1.0, "code": references.code(made_by["versions"])})
    with partial.path.open("a") as file:
        file.write('{"task": "ring", "se')
    references.small(["ring"], range(100, 103), 1, made_by, Results("references", tmp_path))
    assert trained == [101, 102] and "ring: 68 ± 58 over 3 seeds, from 1 to 102" in capsys.readouterr().out
    found = read(tmp_path)["ring"]
    assert (
        found["scores"] == {"100": 1.0, "101": 101.0, "102": 102.0}
        and found["settings"]["preset"] == "classic"
        and found["git_commit"] == "c" * 40
    )
    assert "bound" not in found


def test_a_tree_with_changes_makes_no_reference(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["references.py"])
    monkeypatch.setattr(references, "tree_commit", lambda: "c" * 40 + "+")
    monkeypatch.setattr(references, "small", lambda *args, **more: pytest.fail("trained"))
    with pytest.raises(SystemExit) as end:
        references.main()
    assert end.value.code == 2 and "commit them first" in capsys.readouterr().err


def test_a_training_that_fails_takes_none_of_the_others_with_it(tmp_path, monkeypatch):
    def train(name, seed):
        if seed == 100:
            raise RuntimeError("broken")
        return float(seed)

    monkeypatch.setattr(references, "ProcessPoolExecutor", lambda *args: ThreadPoolExecutor(1))
    monkeypatch.setattr(references, "train", train)
    partial = Results("references", tmp_path)
    with pytest.raises(RuntimeError, match="broken"):
        references.small(["ring"], range(100, 103), 1, {"git_commit": "c" * 40, "versions": {}}, partial)
    assert sorted(line["seed"] for line in Results("references", tmp_path).lines) == [101, 102]


def line(job, settings=(), **more):
    """A line of a training of Hopper, whose policy earns a thousand times its seed."""
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
    "odd, says",
    [
        ({"git_commit": "c" * 40 + "+"}, "seed 1 was trained by files with changes"),
        ({"versions": {"mujoco": "9"}}, "seeds 1 and 2 were trained by other versions"),
    ],
)
def test_a_reference_of_a_million_steps_is_of_committed_files_and_of_one_set_of_libraries(
    odd, says, results_here, tmp_path
):
    results = Results("returns")
    for job in final_policies.jobs("nine", ["Hopper-v4"], range(3)):
        results.add(line(job, **(odd if job.seed == 1 else {})))
    with pytest.raises(UserError, match=says):
        references.million(results, tmp_path / "million")
    assert not (tmp_path / "million").exists()


def test_references_of_a_million_steps_are_of_all_their_seeds_with_the_settings_that_stand_now(
    results_here, tmp_path, capsys
):
    results = Results("returns")
    for job in final_policies.jobs("nine", ["Hopper-v4"], [0, 1, 2, 77]):
        results.add(line(job, {"clip_param": 0.3} if job.seed == 1 else {}))
    references.million(results, tmp_path / "million")
    found = read(tmp_path / "million")
    assert found.keys() == {"Hopper-v4"} and found["Hopper-v4"]["scores"] == {"0": 0.0, "2": 2000.0}
    assert (
        found["Hopper-v4"]["preset"] == "mujoco"
        and found["Hopper-v4"]["settings"] == final_policies.jobs("nine", ["Hopper-v4"], [0])[0].settings
    )
    assert "Swimmer-v4: no seed has finished with the settings that stand now" in capsys.readouterr().out
