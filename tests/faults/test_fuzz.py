"""A few hundred damaged and forged files through every loader, in a process of its own; `benchmarks/robustness/fuzz_loads.py` has the hundred thousand."""

import json
import os
import sys

import jobs
import pytest

from benchmarks.robustness.fuzz_mutations import LEAVES, NODES, bend, edit, put_together, taken_apart, text

FUZZ = ("-m", "benchmarks.robustness.fuzz_loads")


@pytest.mark.skipif(sys.platform != "linux", reason="its limits are Linux's")
def test_a_few_hundred_damaged_files_are_refused_or_load(tmp_path):
    done = jobs.run(1, *FUZZ, "--inputs", 300, "--seed", 1, "--keep", tmp_path / "failures", timeout=400)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["inputs"] == 300 and found["failed"] == 0
    assert found["loaded"] > 0 and found["refused"] > 100  # they reach both ends of the loaders


IN_TURN = """
            self.turn = getattr(self, "turn", 0) + 1
            if self.turn == 1:
                raise KeyError("x")
            if self.turn == 2:
                bytearray(8 << 30)
            if self.turn == 3:
                open(self.folder / "evil", "w")
            if self.turn == 4:
                import pickle
                pickle.loads(pickle.dumps(print))
            if self.turn == 5:
                (self.run / "progress.csv").write_bytes(LOG + b"more")
                return
            os.abort()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="its limits are Linux's")
@pytest.mark.parametrize(
    "broken, says",
    [
        (IN_TURN, ["KeyError", "MemoryError", "Touched", "pickle.find_class", "made longer", "died of SIGABRT"]),
        ("\n            while True: pass\n", ["took too long"]),
    ],
)
def test_loaders_that_go_wrong_are_caught_and_their_files_kept(broken, says, tmp_path):
    """What the check above is worth: the loaders of a copy of the benchmark are broken, each time in another way."""
    copy = tmp_path / "benchmarks" / "robustness"
    copy.mkdir(parents=True)
    for name in (
        "__init__.py",
        "paths.py",
        *(f"robustness/{name}.py" for name in ("__init__", "fuzz_loads", "fuzz_child", "fuzz_mutations")),
    ):
        code = (jobs.ROOT / "benchmarks" / name).read_text()
        code = code.replace(
            "    def read(self, path):\n", f"    def read(self, path):\n        if self.watching:{broken}"
        )
        (tmp_path / "benchmarks" / name).write_text(code)
    done = jobs.run(
        1,
        *FUZZ,
        "--inputs",
        len(says),
        "--seconds",
        2,
        "--keep",
        tmp_path / "failures",
        timeout=400,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(jobs.ROOT)},
    )
    assert done.returncode == 1, done.stderr
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    assert len(failed) == len(says) == len(list((tmp_path / "failures").iterdir())), failed
    assert all(word in line for word, line in zip(says, failed)), failed


def test_mutations_keep_what_they_do_not_touch_and_make_a_right_file_of_it(tmp_path):
    import numpy as np

    from common.storage.array_files import load_arrays, save_arrays

    path = tmp_path / "whole.safetensors"
    save_arrays(
        path, {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"format": "test", "settings": {"a": [1, 2]}}
    )
    entries, metadata, body = taken_apart(path.read_bytes())
    for op in NODES:
        changed = json.loads(json.dumps(metadata))
        edit(changed, op, 1, LEAVES.index(100))
        path.write_bytes(put_together(entries, text(changed), body, True, lambda header: header))
        if op not in ("deep", "rename") and changed.get("format") == "test":
            assert load_arrays(path, "test")[1] == changed  # the hash is right again
    for op in ("flip", "cut", "drop", "repeat", "insert", "splice"):
        assert bend(b"0123456789", op, 3, 0, b"abc") != b"0123456789"
