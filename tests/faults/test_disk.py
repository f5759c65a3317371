"""A run whose files cannot be written ends with one line, status 1 and complete files, and can be resumed."""

import json
import os
import resource
import subprocess
from pathlib import Path

import file_faults
import gymnasium as gym
import jobs
import numpy as np
import pytest
from logs import Rows
from run_files import SHORT, assert_same_run
from small_envs import Identity
from small_policies import uncompiled
from write_faults import REFUSALS, refused, resume_to_the_end, words_for

from baselines_ppo import pposgd_simple
from common.errors import UserError
from common.runs.run_directory import RunDirectory
from common.storage.append_file import AppendOnlyFile
from common.storage.write_errors import WriteError
from common.vec_env.factory import make_vector_env


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    assert file_faults.run([*SHORT, "--run-dir", folder / "run"], folder).returncode == 0
    return folder / "run"


@pytest.fixture
def small_disk():
    """A function (folder) that mounts a filesystem of 64 KiB there, where this process may."""
    mounted = []

    def mount(folder):
        folder.mkdir(parents=True)
        if (
            os.geteuid()
            or subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True
            ).returncode
        ):
            pytest.skip("may not mount")
        mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


def test_run_reports_what_it_cannot_write_and_what_is_left_and_resumes_from_there(whole, tmp_path):
    run = tmp_path / "run"
    for fault, says in REFUSALS:
        assert refused(words_for(run), tmp_path, fault) == says
        assert not list(run.rglob("*.part"))
    resume_to_the_end(run, whole)


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (6500, resource.RLIM_INFINITY))


@pytest.mark.slow
def test_unwritable_tensorboard_events_are_reported_in_the_same_way(whole, tmp_path):
    """These files are the first to exceed 6,500 bytes; a checkpoint has 6,100."""
    run = tmp_path / "run"
    assert refused(words_for(run), tmp_path, None, small_files) == (
        "tb: File too large; the last complete checkpoint is ckpt-00000003.safetensors; "
        "allow larger files (ulimit -f) and resume with --resume"
    )
    resume_to_the_end(run, whole)


@pytest.mark.slow
def test_full_disk_and_disk_remounted_read_only(whole, tmp_path, small_disk):
    run = tmp_path / "run"
    for name in ("checkpoints", "tb"):
        small_disk(run / name)
    room, fill = (
        ("No space left on device", "free some disk space"),
        f"head -c 1M /dev/zero > {run}/{{}}/filler 2> {tmp_path}/fill.log || true",
    )
    for fault, (why, fix), file, mend in (
        (
            ("open", "ckpt-00000006", 1, fill.format("checkpoints")),
            room,
            "checkpoints/ckpt-00000006.safetensors",
            f"rm {run}/checkpoints/filler",
        ),
        (("write", "progress.csv", 1, fill.format("tb")), room, "tb", f"rm {run}/tb/filler"),
        (
            ("open", "ckpt-00000006", 1, f"mount -o remount,ro {run}/checkpoints"),
            ("Read-only file system", "make it writable"),
            "checkpoints/ckpt-00000006.safetensors",
            f"mount -o remount,rw {run}/checkpoints",
        ),
    ):
        assert refused(words_for(run), tmp_path, fault) == (
            f"{file}: {why}; the last complete checkpoint is ckpt-00000003.safetensors; {fix} and resume with --resume"
        )
        subprocess.run(mend, shell=True, check=True)
    resume_to_the_end(run, whole)


def test_read_only_disk_is_refused_before_anything_is_created(tmp_path, small_disk):
    small_disk(tmp_path / "disk")
    subprocess.run(["mount", "-o", "remount,ro", tmp_path / "disk"], check=True)
    ended = file_faults.run([*SHORT, "--run-dir", tmp_path / "disk/run"], tmp_path)
    assert ended.returncode == 2
    assert (
        ended.stderr
        == f"run.py: error: cannot write to run directory {tmp_path}/disk/run: Read-only file system; choose another --run-dir\n"
    )


@pytest.mark.slow
# before an evaluation, and a checkpoint
@pytest.mark.parametrize(("row", "file"), [(2, "{0}"), (3, "checkpoints/ckpt-00000003.safetensors")])
@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("rm -r {0}", "No such file or directory"),
        (
            "mv {0} {0}-gone && mkdir -p {0}/checkpoints {0}/best {0}/tb",
            "the directory has been replaced by another one",
        ),
    ],
)
def test_removed_run_directory_is_not_recreated_and_its_replacement_is_not_changed(row, file, command, why, tmp_path):
    run = tmp_path / "run"
    says = refused(words_for(run), tmp_path, ("write", "progress.csv", row, command.format(run)))
    assert says == f"{file.format(run)}: {why}; there is no checkpoint; check who moved or deleted it and restart"
    assert not [path for path in run.rglob("*") if path.is_file()]


def test_unwritable_directory_is_refused_before_anything_is_created(tmp_path):
    tmp_path.chmod(0o500)
    root = os.geteuid() == 0
    try:
        if root:  # who may write everywhere
            os.seteuid(65534)
        with pytest.raises(
            UserError,
            match=f"^cannot write to run directory {tmp_path}/run: Permission denied; choose another run_dir$",
        ):
            RunDirectory(tmp_path / "run")
    finally:
        if root:
            os.seteuid(0)
        tmp_path.chmod(0o700)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command, why",
    [
        ("rm -r {0}", "No such file or directory"),
        ("mv {0} {0}-gone && mkdir -p {0}/checkpoints", "the directory has been replaced by another one"),
    ],
)
def test_removed_run_directory_is_detected_in_the_next_iteration(command, why, tmp_path):
    folder, log = RunDirectory(tmp_path / "run"), Rows()
    folder.acquire()

    def take_away(names, _):
        if names["iters_so_far"] == 2:
            subprocess.run(command.format(folder.path), shell=True, check=True)

    with pytest.raises(WriteError, match=f"^cannot write {folder.path}: {why}$"):
        pposgd_simple.learn(
            Identity(gym.spaces.Discrete(2)),
            uncompiled,
            timesteps_per_actorbatch=16,
            optim_batchsize=16,
            optim_epochs=1,
            max_iters=9,
            seed=0,
            logger=log,
            folder=folder,
            callback=take_away,
        )
    folder.release()
    assert len(log.rows) == 2 and not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_oserror_of_an_environment_is_not_reported_as_a_write_error(tmp_path):
    environ = os.environ | {"PYTHONPATH": str(Path(file_faults.__file__).parent)}
    ended = jobs.run(
        1, jobs.RUN, "--env", "odd_envs:Oserror-v0", "--max-iters", "3", "--run-dir", tmp_path / "run", env=environ
    )
    assert ended.returncode == 1 and "No space left on device" in ended.stderr and "cannot write" not in ended.stderr


@pytest.mark.slow
def test_two_ranks_of_which_one_cannot_write_end_with_one_line_and_resume(tmp_path):
    assert jobs.run(2, jobs.RUN, *SHORT, "--run-dir", tmp_path / "whole").returncode == 0
    run = tmp_path / "run"
    for rank, fault, file in (
        (1, ("write", "1.0.monitor.csv", 8, "ENOSPC"), "1.0.monitor.csv"),
        (0, ("fsync", "ckpt-00000009", 1, "ENOSPC"), "checkpoints/ckpt-00000009.safetensors"),
    ):
        ended = jobs.run(2, file_faults.__file__, json.dumps([rank, fault]), *words_for(run))
        assert ended.returncode == 1
        (line,) = (line for line in ended.stderr.splitlines() if line.startswith("rank "))
        assert (
            line.startswith(f"rank {rank} on host ")
            and f"cannot write {run}/{file}: No space left on device; the last complete checkpoint is ckpt-0" in line
        )
        assert "Traceback" not in ended.stderr
        jobs.wait_gone(run)
    assert jobs.run(2, jobs.RUN, *words_for(run)).returncode == 0
    assert_same_run(run, tmp_path / "whole")


@pytest.mark.slow
def test_unwritable_report_is_a_warning(tmp_path):
    run = tmp_path / "run"
    (run / "report.html").mkdir(parents=True)
    ended = file_faults.run([*SHORT[:-1], "true", "--max-iters", "1", "--run-dir", run], tmp_path)
    assert ended.returncode == 0 and ended.stderr == f"run.py: report: error: cannot write to {run}: Is a directory\n"


def fill_stdout():
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def test_closed_stdout_does_not_end_the_run(whole, tmp_path):
    ended = file_faults.run([*SHORT, "--run-dir", tmp_path / "run"], tmp_path, prepare=fill_stdout)
    assert ended.returncode == 0
    assert (
        ended.stderr
        == "baselines_ppo: stdout is closed (No space left on device): progress output disabled, training continues\n"
    )
    assert_same_run(tmp_path / "run", whole)


# ---- the parts


@pytest.fixture
def file_size():
    """A function that limits the size of this process's files, and of those that it starts."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_row_that_exceeds_the_disk_is_not_written_partially(tmp_path, file_size):
    rows = AppendOnlyFile(tmp_path / "rows.csv")
    rows.write("12345678\n")
    file_size(12)
    for _ in range(2):
        with pytest.raises(WriteError, match=f"^cannot write {tmp_path}/rows.csv: File too large$"):
            rows.write("abcdefgh\n")
        assert (tmp_path / "rows.csv").read_text() == "12345678\n"
    rows.write("12\n")
    rows.close()
    assert (tmp_path / "rows.csv").read_text() == "12345678\n12\n"


def test_write_error_of_a_monitor_in_a_worker_names_its_file(tmp_path, file_size):
    file_size(4096)  # bytes: some 200 episodes of 9 steps
    env = make_vector_env("CartPole-v1", 1, 3, tmp_path, workers=1)
    obs, rew = np.zeros((1, 1, 4), np.float32), np.zeros((1, 1))
    env.reset(seed=[0])
    with pytest.raises(WriteError, match=f"^cannot write {tmp_path}/3.0.monitor.csv: File too large$"):
        for _ in range(4000):
            env.step_into(np.zeros(1, int), obs, 0, rew, 0)
    env.close()
    lines = (tmp_path / "3.0.monitor.csv").read_text().splitlines(keepends=True)
    assert len(lines) > 2 and all(line.endswith("\n") for line in lines)
