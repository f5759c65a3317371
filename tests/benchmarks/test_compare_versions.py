"""The comparison of two versions finds differences of one bit, and reuses finished cases."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks.robustness import compare_versions
from benchmarks.robustness.compare_versions import Comparison, Version, digest, first_difference, run_all
from benchmarks.robustness.version_cases import CASES

W, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([0.0, np.nan])
TENSORS = {"pi/w": W, "pi/b": B}


def test_copies_are_equal_in_any_order_with_nan_and_without_entries():
    tensors = TENSORS | {"empty": np.zeros((0, 3)), "scalar": np.float64(1)}
    copies = {name: np.array(x) for name, x in reversed(tensors.items())}
    assert first_difference(tensors, copies) == "" and digest(tensors) == digest(copies)


@pytest.mark.parametrize(
    "changed, difference",
    [
        ({"pi/w": np.where(W == 5, np.nextafter(W, 9), W)}, "pi/w: 1 of 6 values differ, by at most 4.77e-07"),
        ({"pi/b": np.array([-0.0, np.nan])}, "pi/b: 1 of 2 values differ"),
        ({"pi/w": W.astype(np.float64)}, "pi/w: float32 [2, 3] in OLD, float64 [2, 3] in NEW"),
        ({"pi/w": W.reshape(3, 2)}, "pi/w: float32 [2, 3] in OLD, float32 [3, 2] in NEW"),
        ({"pi/a": W, "pi/b": W}, "pi/a: only in NEW"),
    ],
    ids=["last bit", "sign of zero", "type", "shape", "name"],
)
def test_first_difference_is_named_and_changes_the_hash(changed, difference):
    found = first_difference(TENSORS, TENSORS | changed)
    assert found.startswith(difference)
    assert digest(TENSORS) != digest(TENSORS | changed)


def test_a_tensor_that_only_old_has_is_a_difference():
    assert first_difference(TENSORS, {"pi/w": W}) == "pi/b: only in OLD"


def test_every_case_that_reads_files_names_one_that_writes_them():
    for case in CASES.values():
        assert bool(case.start) == ("{" in case.words)
        if case.start:
            start = CASES[case.start]
            assert not start.start and (start.stop_at > 0 or "{checkpoint}" not in case.words)


@pytest.fixture
def runs(monkeypatch):
    """Replaces the runs of the command line by a policy file; lists (version, case). A case of "broken" has other values."""
    found = []

    def run(self, case, version, folder, new):
        found.append((version.name, case.name))
        save_file({"pi/w": W + (version.name == "broken")}, folder / "outcome.safetensors")

    monkeypatch.setattr(Comparison, "run", run)
    return found


def test_results_of_old_are_kept_and_reused(tmp_path, runs):
    machine, old, new = {"cpu": "a"}, Version(tmp_path, "1" * 16), Version(tmp_path, "2" * 16)
    case = CASES["trpo"]
    assert run_all(Comparison(tmp_path, machine, old), [case], 1)
    assert run_all(Comparison(tmp_path, machine, old, new), [case], 1)
    assert runs == [(old.name, "trpo"), (new.name, "trpo")]
    assert run_all(Comparison(tmp_path, {"cpu": "b"}, old), [case], 1)
    assert len(runs) == 3  # another machine may round differently


def test_a_checkout_with_uncommitted_changes_is_run_again(tmp_path, runs):
    old, new = Version(tmp_path, "1" * 16), Version(tmp_path, "2" * 16 + "-modified")
    for _ in range(2):
        assert run_all(Comparison(tmp_path, {}, old, new), [CASES["trpo"]], 1)
    assert [name for name, _ in runs] == [old.name, new.name, new.name]


def test_a_difference_is_printed_and_recorded(tmp_path, runs, capsys):
    comparison = Comparison(tmp_path, {}, Version(tmp_path, "old"), Version(tmp_path, "broken"))
    assert not run_all(comparison, [CASES["play-hopper"]], 2)
    assert runs == [("old", "mujoco-1"), ("old", "play-hopper"), ("broken", "play-hopper")]
    assert "pi/w: 6 of 6 values differ, by at most 1" in capsys.readouterr().out
    assert '"equal": false' in (tmp_path / "comparisons.jsonl").read_text()


def test_what_is_neither_a_checkout_nor_a_revision_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="neither a checkout nor a revision"):
        compare_versions.main(["no-such-revision", "--out", str(tmp_path)])
