"""A rank that stalls ends the job soon, and the message names the rank and where it was."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from failing_jobs import (
    HOST,
    SEGMENT,
    STALL_TIMEOUT,
    START_TIMEOUT,
    argv_for,
    last_iteration,
    run_with_fault,
    wait_for,
)
from jobs import command, run, support_path

from baselines_ppo.policy_registry import load_policy
from common.distributed.heartbeat import read_heartbeats


@pytest.mark.parametrize("ranks, bad_rank", [(1, 0), pytest.param(4, 2, marks=pytest.mark.slow)])
def test_an_environment_that_never_returns_is_reported_with_rank_and_line(ranks, bad_rank, tmp_path):
    status, stderr, seconds = run_with_fault(
        ranks, "hang", tmp_path / "run", "--stall-timeout", STALL_TIMEOUT, bad_rank=bad_rank
    )
    assert status not in (0, 2)
    assert seconds < STALL_TIMEOUT + 10
    assert re.search(
        rf"rank {bad_rank} on host {HOST}: no progress for \d+ s in collect, iteration 4, step 43, "
        r"at .*failing_ranks\.py:\d+ in hang\(\); .*--resume",
        stderr,
    )
    assert read_heartbeats(tmp_path / "run" / "ranks")[bad_rank]["phase"] == "stalled in collect"


WRITES = """if True:
    import sys, time
    from common.distributed.heartbeat import Heartbeat
    from common.distributed.communicator import Communicator
    from common.distributed.watchdog import Watchdog
    comm = Communicator(None)
    beat = Heartbeat(comm, sys.argv[1] + "/ranks").start()
    watchdog = Watchdog(comm, beat, timeout=2).start()
    with open(sys.argv[1] + "/log", "ab", buffering=0) as file:
        for i in range(10**9):
            beat.set_phase("checkpoint", i)
            file.write(b"row")
            time.sleep(0.01)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("fsfreeze"), reason="needs root and fsfreeze")
def test_a_file_system_that_hangs_is_reported_and_the_rank_ends_when_it_works_again(tmp_path):
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    image.write_bytes(bytes(16 << 20))
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, disk], capture_output=True).returncode:
        pytest.skip("may not mount")
    process = subprocess.Popen(command(1, "-c", WRITES, disk), env=support_path(), stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: (disk / "log").exists() and (disk / "log").stat().st_size > 30, process)
        subprocess.run(["fsfreeze", "-f", disk], check=True)
        try:
            assert re.search(
                rf"^rank 0 on host {HOST}: no progress for 2 s in checkpoint, iteration \d+, at ",
                process.stderr.readline(),
            )
        finally:
            subprocess.run(["fsfreeze", "-u", disk], check=True)
        assert process.wait(20) == 1
    finally:
        process.kill()
        process.communicate()
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_rank_whose_watchdog_is_blocked_is_reported_by_waiting_ranks(tmp_path):
    status, stderr, seconds = run_with_fault(
        2, "hang_with_the_lock", tmp_path / "run", "--stall-timeout", STALL_TIMEOUT, bad_rank=1
    )
    assert status not in (0, 2)
    assert seconds < STALL_TIMEOUT + 20
    assert re.search(
        rf"rank 0 on host {HOST}: has waited \d+ s for other ranks: rank 1 on host {HOST}: collect, iteration 4, step",
        stderr,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "how, place",
    [
        ("--env-workers", r"in the process of environment 0 \(pid \d+\), at .*failing_ranks\.py:\d+ in hang\(\)"),
        ("--env-threads", r"at .*failing_ranks\.py:\d+ in hang\(\) \(environment 0\); at .* \(environment 1\)"),
    ],
)
def test_a_hanging_environment_in_a_process_or_thread_is_reported_with_its_line(how, place, tmp_path):
    status, stderr, seconds = run_with_fault(
        1, "hang", tmp_path / "run", "--stall-timeout", STALL_TIMEOUT, "--num-envs", 2, how, 2
    )
    assert status not in (0, 2)
    assert seconds < STALL_TIMEOUT + 10
    assert re.search(
        rf"rank 0 on host {HOST}: no progress for \d+ s in collect, iteration 9, step 11, {place}; .*--resume", stderr
    ), stderr


def test_an_environment_that_hangs_in_its_constructor_is_reported(tmp_path):
    done = run(
        1,
        *argv_for("hang_in_constructor", tmp_path / "run", "--stall-timeout", 1),
        env=support_path(),
        timeout=START_TIMEOUT,
    )
    assert done.returncode == 1
    assert re.search(
        rf"rank 0 on host {HOST}: no progress for \d+ s in start, iteration 0, at .*failing_ranks\.py:\d+ in hang\(\)",
        done.stderr,
    )


@pytest.mark.slow
@pytest.mark.parametrize("ranks, bad_rank", [(1, 0), (4, 2)])
def test_an_environment_that_does_not_close_delays_neither_the_message_nor_the_end(ranks, bad_rank, tmp_path):
    status, stderr, seconds = run_with_fault(ranks, "raise_and_hang_in_close", tmp_path / "run", bad_rank=bad_rank)
    assert status not in (0, 2)
    assert seconds < 10
    reason, closing = (
        stderr.index("the simulator broke, at step 43 of the segment of iteration 4"),
        stderr.index("in hang()"),
    )
    assert reason < closing and stderr.count("the simulator broke, at") == 1
    assert re.search(
        rf"rank {bad_rank} on host {HOST}: failed in collect, and cleaning up has not ended after \d s, at .* in hang\(\)",
        stderr,
    ), stderr


@pytest.mark.slow
def test_a_finished_run_keeps_its_policy_if_an_environment_does_not_close(tmp_path):
    status, stderr, seconds = run_with_fault(
        1, "hang_in_close", tmp_path / "run", "--num-timesteps", SEGMENT, "--stall-timeout", STALL_TIMEOUT
    )
    assert status not in (0, 2)
    assert seconds < STALL_TIMEOUT + 10
    assert re.search(
        r"no progress for \d+ s in closing, .* in hang\(\); the run had finished, and the policy is saved", stderr
    ), stderr
    load_policy(tmp_path / "run" / "policy")


def test_a_suspended_rank_has_not_stalled(tmp_path):
    process = subprocess.Popen(
        command(1, *argv_for("none", tmp_path / "run", "--stall-timeout", STALL_TIMEOUT)),
        env=support_path(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: last_iteration(tmp_path / "run") > 1, process)
        process.send_signal(signal.SIGSTOP)
        time.sleep(STALL_TIMEOUT + 3)
        process.send_signal(signal.SIGCONT)
        time.sleep(2)
        assert process.poll() is None, process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_single_rank_that_stalls_with_pythons_lock_is_killed_with_its_stacks(tmp_path):
    status, stderr, seconds = run_with_fault(
        1, "hang_with_the_lock", tmp_path / "run", "--stall-timeout", STALL_TIMEOUT
    )
    assert status == -signal.SIGKILL
    assert seconds < STALL_TIMEOUT + 20
    assert re.search(rf"rank 0 on host {HOST}: no progress, and Python's global lock is held", stderr)
    assert " in hang_with_the_lock\n" in stderr
