"""A run that is killed at any moment is bit-identical after resumes; no file is torn, lost or left over."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import file_faults
import jobs
import pytest
from run_files import SHORT, assert_same_run

from common.runs.run_directory import RunDirectory
from common.training.state import validate_checkpoint

# in the order of a run; each run but the first resumes from the files that the previous one has left
FEW_FAULTS = [
    ("rename", "config.json", 1, "kill"),  # nothing but .lock and half of a config.json: started again
    ("write", "progress.json", 2, "half"),  # no checkpoint yet
    ("fsync", "ckpt-00000006", 1, "half"),
    ("truncate", "progress.csv", 1, "kill"),  # while logs are truncated
    ("remove", "ckpt-00000003", 1, "kill"),  # the third checkpoint is whole, the first not yet dropped
    ("fsync", "policy/.policy", 1, "half"),  # after the last checkpoint
]
MANY = [
    ("open", "config.json", 1, "kill"),
    *FEW_FAULTS[:2],
    # that a resume writes, for the second time: with what was chosen automatically
    ("rename", "config.json", 2, "kill"),
    ("write", "0.1.monitor.csv", 2, "half"),
    ("open", "best/", 1, "kill"),
    ("rename", "ckpt-00000003", 1, "kill"),
    ("fsync", "checkpoints$", 1, "kill"),  # renamed, but the directory is not flushed yet
    ("open", "ckpt-00000006", 1, "kill"),
    *FEW_FAULTS[2:4],
    ("write", "evaluations.csv", 1, "half"),
    ("fsync", "monitor.csv", 1, "kill"),
    ("rename", "ckpt-00000009", 1, "kill"),
    *FEW_FAULTS[4:5],
    ("write", "progress.csv", 2, "kill"),
    ("fsync", "ckpt-00000014-forced", 1, "half"),
    ("mkdir", "policy$", 1, "kill"),
    ("rename", "policy/.policy", 1, "kill"),
    *FEW_FAULTS[5:],
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    assert file_faults.run([*SHORT, "--run-dir", folder / "run"], folder).returncode == 0
    return folder / "run"


def words_for(run):
    """The command line that starts a run, or resumes it."""
    return ["--run-dir", run, "--resume"] if (run / "config.json").exists() else [*SHORT, "--run-dir", run]


def assert_checkpoints_are_valid(run):
    folder = RunDirectory(run)
    found = folder.checkpoints.latest(validate_checkpoint)
    assert folder.checkpoints.skipped == {} and (found is None) == (folder.checkpoints.paths() == [])


def kill_repeatedly(run, faults, whole):
    for fault in faults:
        killed = file_faults.run(words_for(run), run.parent, fault)
        assert killed.returncode == -signal.SIGKILL, (fault, killed)
        assert_checkpoints_are_valid(run)
    ended = file_faults.run(words_for(run), run.parent)
    assert ended.returncode == 0, ended.stderr
    assert_same_run(run, whole)


def test_run_killed_within_file_operations_is_bit_identical_after_resumes(whole, tmp_path):
    kill_repeatedly(tmp_path / "run", FEW_FAULTS, whole)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_run_killed_within_twenty_file_operations_is_bit_identical_after_resumes(whole, tmp_path):
    assert len(MANY) == 20
    kill_repeatedly(tmp_path / "run", MANY, whole)


# n-th write of TensorFlow's C++ code into tb/, counted in each process -> "half" if half of it reaches the disk
NATIVE = {1: "", 2: "half", 5: "half", 40: "", 61: "half", 100: "half", 7: ""}


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """A library that, preloaded, kills its process within a write of C++."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    path = tmp_path_factory.mktemp("shim") / "kill_in_fwrite.so"
    subprocess.run(
        [
            compiler,
            "-shared",
            "-fPIC",
            "-O1",
            "-o",
            path,
            Path(file_faults.__file__).with_name("kill_in_fwrite.c"),
            "-ldl",
        ],
        check=True,
    )
    return path


@pytest.mark.slow
def test_run_killed_within_native_writes_is_bit_identical_after_resumes(whole, shim, tmp_path):
    # as `whole` was compiled
    run, same = (
        tmp_path / "run",
        {"XLA_FLAGS": os.environ.get("XLA_FLAGS", "--xla_backend_optimization_level=0")},
    )
    for count, half in NATIVE.items():
        fault = {"LD_PRELOAD": str(shim), "KILL_IN": f"{run}/tb/", "KILL_AT": str(count)} | (
            {"KILL_HALF": "1"} if half else {}
        )
        killed = jobs.run(1, jobs.RUN, *words_for(run), env=os.environ | same | fault)
        assert killed.returncode == -signal.SIGKILL, (count, killed.stderr)
        assert_checkpoints_are_valid(run)
    ended = file_faults.run(words_for(run), tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert_same_run(run, whole)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_run_killed_at_twenty_random_moments_is_bit_identical_after_resumes(whole, tmp_path):
    run, moments, killed = tmp_path / "run", random.Random(0), 0
    while killed < 20:
        ended = file_faults.run(words_for(run), tmp_path, kill_after=moments.uniform(0.1, 6.0))
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
        killed += ended.returncode != 0
        if run.exists():
            assert_checkpoints_are_valid(run)
        if ended.returncode == 0:
            assert_same_run(run, whole)
            shutil.rmtree(run)
    ended = file_faults.run(words_for(run), tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert_same_run(run, whole)


@pytest.fixture(scope="module")
def whole_of_four(tmp_path_factory):
    """An undisturbed run on four ranks."""
    run = tmp_path_factory.mktemp("four") / "run"
    assert jobs.run(4, jobs.RUN, *SHORT, "--run-dir", run).returncode == 0
    return run


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_four_ranks_killed_together_at_random_moments_are_bit_identical_after_resumes(whole_of_four, tmp_path):
    run, moments = tmp_path / "run", random.Random(0)
    for _ in range(6):
        row = moments.randint(1, 13)
        jobs.kill_when(
            4,
            [jobs.RUN, *words_for(run)],
            run,
            lambda row=row: (run / "progress.csv").exists() and (run / "progress.csv").read_bytes().count(b"\n") > row,
        )
        assert_checkpoints_are_valid(run)
    ended = jobs.run(4, jobs.RUN, *words_for(run))
    assert ended.returncode == 0, ended.stderr
    assert_same_run(run, whole_of_four)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_four_ranks_of_which_one_is_killed_are_bit_identical_after_resumes(whole_of_four, tmp_path):
    script, run = Path(file_faults.__file__), tmp_path / "broken"
    for rank, fault in (
        (0, FEW_FAULTS[0]),
        (3, ("write", "3.0.monitor.csv", 2, "half")),
        (0, FEW_FAULTS[2]),
        (2, ("truncate", "2.1.monitor.csv", 1, "kill")),
        (1, ("fsync", "1.0.monitor.csv", 1, "kill")),
        (0, FEW_FAULTS[5]),
    ):
        killed = jobs.run(4, script, json.dumps([rank, fault]), *words_for(run))
        assert killed.returncode not in (0, 1, 2), (fault, killed.stderr)
        jobs.wait_gone(run)
        assert_checkpoints_are_valid(run)
    ended = jobs.run(4, jobs.RUN, *words_for(run))
    assert ended.returncode == 0, ended.stderr
    assert_same_run(run, whole_of_four)


def test_resume_of_a_run_killed_before_its_config_exists_is_refused_with_a_hint(tmp_path):
    run = tmp_path / "run"
    file_faults.run([*SHORT, "--run-dir", run], tmp_path, ("open", "config.json", 1, "kill"))
    assert sorted(path.name for path in run.iterdir()) == [".lock", "checkpoints"]
    refused = file_faults.run(["--run-dir", run, "--resume"], tmp_path)
    assert refused.returncode == 2
    assert (
        refused.stderr
        == f"run.py: error: --resume: there is no run in {run}; check --run-dir, or start one without --resume\n"
    )


def test_temporary_files_of_killed_writers_are_deleted_by_the_next_run(tmp_path):
    folder = RunDirectory(tmp_path)
    left = [
        ".config.json.7.part",
        ".probe.7.part",
        ".film.7.part.gif",
        "checkpoints/.ckpt-00000003.safetensors.7.part",
        "best/.policy.safetensors.7.part",
    ]
    kept = [".part", ".notes.part.txt", "mine.7.part", "best/policy.safetensors"]
    (tmp_path / "best").mkdir()
    for name in (*left, *kept):
        (tmp_path / name).touch()
    assert folder.acquire() is None
    assert not any((tmp_path / name).exists() for name in left) and all((tmp_path / name).exists() for name in kept)


def test_logs_are_truncated_only_after_newer_checkpoints_are_deleted(whole, tmp_path):
    """Otherwise a kill between the two would leave a forced checkpoint whose logs are too short."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    killed = file_faults.run(["--run-dir", run, "--resume", "exact"], tmp_path, ("truncate", "progress.csv", 1, "kill"))
    assert (
        killed.returncode == -signal.SIGKILL
        and (run / "progress.csv").read_bytes() == (whole / "progress.csv").read_bytes()
    )
    assert RunDirectory(run).checkpoints.paths()[0].name == "ckpt-00000012.safetensors"
