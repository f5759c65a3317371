"""Fuzzing: every loader reads a few hundred damaged and forged files. `benchmarks/robustness/fuzz_loads.py` uses 100,000."""

import json
import os
import sys

import jobs
import pytest

from benchmarks.robustness.fuzz_mutations import (
    BYTE_OPERATIONS,
    JSON_OPERATIONS,
    LEAVES,
    edit_bytes,
    edit_json,
    encode_json,
    join_safetensors,
    split_safetensors,
)

FUZZ = ("-m", "benchmarks.robustness.fuzz_loads")
READ = "    def read(self, path: Path) -> None:\n"  # of Loaders


@pytest.mark.skipif(sys.platform != "linux", reason="the resource limits require Linux")
def test_damaged_files_are_refused_or_loaded(tmp_path):
    done = jobs.run(1, *FUZZ, "--inputs", 300, "--seed", 1, "--keep", tmp_path / "failures", timeout=400)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["inputs"] == 300 and found["failed"] == 0
    assert found["loaded"] > 0 and found["refused"] > 100  # both outcomes occur


FAULTS_IN_TURN = """
            self.turn = getattr(self, "turn", 0) + 1
            if self.turn == 1:
                raise KeyError("x")
            if self.turn == 2:
                bytearray(8 << 30)
            if self.turn == 3:
                open(self.directory / "evil", "w")
            if self.turn == 4:
                import pickle
                pickle.loads(pickle.dumps(print))
            if self.turn == 5:
                (self.run / "progress.csv").write_bytes(LOG + b"more")
                return
            os.abort()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the resource limits require Linux")
@pytest.mark.parametrize(
    "fault, messages",
    [
        (
            FAULTS_IN_TURN,
            ["KeyError", "MemoryError", "ForbiddenAction", "pickle.find_class", "extended", "killed by SIGABRT"],
        ),
        ("\n            while True: pass\n", ["took too long"]),
    ],
)
def test_failures_of_loaders_are_detected_and_their_files_kept(fault, messages, tmp_path):
    """The fuzzer detects faults that are inserted into a copy of its loaders."""
    copy = tmp_path / "benchmarks" / "robustness"
    copy.mkdir(parents=True)
    for name in (
        "__init__.py",
        "paths.py",
        *(
            f"robustness/{name}.py"
            for name in ("__init__", "fuzz_loads", "fuzz_child", "fuzz_loaders", "fuzz_mutations")
        ),
    ):
        code = (jobs.ROOT / "benchmarks" / name).read_text()
        code = code.replace(READ, f"{READ}        if self.watching:{fault}")
        (tmp_path / "benchmarks" / name).write_text(code)
    done = jobs.run(
        1,
        *FUZZ,
        "--inputs",
        len(messages),
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
    assert len(failed) == len(messages) == len(list((tmp_path / "failures").iterdir())), failed
    assert all(message in line for message, line in zip(messages, failed)), failed


def test_edited_file_has_a_valid_hash_and_the_edited_metadata(tmp_path):
    import numpy as np

    from common.storage.array_files import load_arrays, save_arrays

    path = tmp_path / "policy.safetensors"
    save_arrays(
        path, {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"format": "test", "settings": {"a": [1, 2]}}
    )
    entries, metadata, body = split_safetensors(path.read_bytes())
    for op in JSON_OPERATIONS:
        changed = json.loads(json.dumps(metadata))
        edit_json(changed, op, 1, LEAVES.index(100))
        path.write_bytes(join_safetensors(entries, encode_json(changed), body, True, lambda header: header))
        if op not in ("deep", "rename") and changed.get("format") == "test":
            assert load_arrays(path, "test")[1] == changed  # the hash is valid
    for op in BYTE_OPERATIONS:
        assert edit_bytes(b"0123456789", op, 3, 0, b"abc") != b"0123456789"
