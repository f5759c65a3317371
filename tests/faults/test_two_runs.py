"""A run directory belongs to one running process: a second one is refused and changes nothing."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import file_faults
import pytest
from run_files import SHORT

from baselines_ppo.experiment.directory import acquire_run_directory
from baselines_ppo.sweep.directory import SweepDirectory
from baselines_ppo.train import previous_run
from common.distributed.communicator import Communicator
from common.errors import UserError
from common.runs.run_directory import RunDirectory


def snapshot(folder):
    """Times, size and inode of every file of a directory."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_ctime_ns, path.stat().st_size, path.stat().st_ino)
        for path in (folder, *folder.rglob("*"))
    }


@pytest.mark.parametrize("words", [["--resume"], SHORT])
def test_second_of_two_runs_is_refused_with_one_line_and_changes_nothing(words, tmp_path):
    run = tmp_path / "run"
    assert file_faults.run([*SHORT, "--run-dir", run], tmp_path).returncode == 0
    folder = acquire_run_directory(run, Communicator(None), True, 3)
    (run / ".config.json.7.part").touch()  # the first run may be writing it
    before = snapshot(run)
    refused = file_faults.run([*words, "--run-dir", run], tmp_path)
    assert refused.returncode == 2
    assert (
        refused.stderr
        == f"run.py: error: run directory {run} is locked by another running process; choose another --run-dir\n"
    )
    assert snapshot(run) == before
    folder.release()


def test_directory_of_a_killed_run_is_unlocked(tmp_path):
    code = (
        "import time; from common.runs.run_directory import RunDirectory; "
        f"run = RunDirectory({str(tmp_path)!r}); run.acquire(); print(flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=file_faults.ROOT)
    process.stdout.readline()
    with pytest.raises(UserError, match="locked by another running process"):
        RunDirectory(tmp_path).acquire()
    process.send_signal(signal.SIGKILL)
    process.wait()
    RunDirectory(tmp_path).acquire()


def test_requeued_job_waits_for_the_previous_one_to_exit(tmp_path, monkeypatch, caplog):
    before = RunDirectory(tmp_path)
    before.acquire()
    monkeypatch.setattr(previous_run.time, "sleep", lambda _: before.release())
    assert previous_run.load_previous_run(tmp_path, Communicator(None), allow_missing=True) is None
    assert caplog.messages == [f"{tmp_path} is locked by another running process: waiting up to 30 s for it to exit"]
    RunDirectory(tmp_path).acquire()


def test_requeued_job_waits_for_a_bounded_time(tmp_path, monkeypatch):
    folder = RunDirectory(tmp_path)
    folder.acquire()
    monkeypatch.setattr(previous_run, "UNLOCK_TIMEOUT", 0.3)
    # the directory is refused when it is acquired
    assert previous_run.load_previous_run(tmp_path, Communicator(None), allow_missing=True) is None
    folder.release()


def test_removed_lock_is_acquired_again_or_ends_the_run_that_lost_it(tmp_path):
    first, second = RunDirectory(tmp_path), RunDirectory(tmp_path)
    first.acquire()
    (tmp_path / ".lock").unlink()
    first.verify_ownership()
    with pytest.raises(UserError, match="locked by another running process"):
        second.acquire()
    (tmp_path / ".lock").unlink()
    second.acquire()
    with pytest.raises(OSError, match="its .lock was deleted, and another process has locked it"):
        first.verify_ownership()
    second.verify_ownership()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_system_without_locks_is_used_with_a_warning(number, tmp_path, monkeypatch, caplog):
    def flock(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / ".config.json.7.part").touch()
    acquire_run_directory(tmp_path, Communicator(None), False, 3)
    reason = os.strerror(number)
    assert caplog.messages == [
        f"run directory {tmp_path} cannot be locked ({reason}); make sure that no other run uses it"
    ]
    assert (tmp_path / ".config.json.7.part").exists()  # another process may be writing it
    sweep = SweepDirectory(tmp_path / "sweep")
    assert (
        sweep.acquire()
        == f"sweep directory {sweep.path} cannot be locked ({os.strerror(number)}); make sure that no other sweep uses it"
    )
    (sweep.path / "run").mkdir()
    (sweep.path / "run/.lock").touch()
    assert not sweep.is_locked(SimpleNamespace(name="run"))


@pytest.mark.parametrize(
    "name",
    ["checkpoints/ckpt-00000025.safetensors", "progress.csv", "0.0.monitor.csv", "1.0.monitor.csv", "tb/events.out"],
)
def test_directory_whose_config_is_missing_is_not_overwritten(name, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("kept")
    with pytest.raises(
        UserError, match=f"contains {name} of a run whose config.json is missing; choose another run_dir$"
    ):
        acquire_run_directory(tmp_path, Communicator(None), False, 3)
    assert (tmp_path / name).read_text() == "kept"
