"""The watchdog recognises and reports stalls, and a file system that hangs does not block it."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import jobs
import pytest
from stub_ranks import StubRanks

from common.distributed import heartbeat as heartbeats
from common.distributed import lock_watchdog, watchdog
from common.distributed.heartbeat import Heartbeat
from common.distributed.watchdog import GRACE_POLLS, Watchdog
from common.hints import RESTART_AFTER_STALL, RESUME_AFTER_STALL


def polls_until_abort(comm, heartbeat, timeout, most=1000):
    """Return after how many polls without progress the watchdog aborts the job; None if it never does."""
    checked = Watchdog(comm, heartbeat, timeout)
    return next((count for count in range(most) if checked.check() or comm.reason), None)


@pytest.mark.parametrize(
    "timeout, phase, polls",
    [
        (10, "collect", 10),
        (0, "collect", None),
        (10, "start", watchdog.STARTUP_TIMEOUT),
        (10, "compile", watchdog.COMPILE_TIMEOUT),
        (500, "start", 500),
        (500, "failed in collect", watchdog.CLEANUP_TIMEOUT),
        (0, "failed in update", watchdog.CLEANUP_TIMEOUT),
    ],
)
def test_the_time_without_progress_depends_on_the_phase(timeout, phase, polls):
    comm = StubRanks()
    heartbeat = Heartbeat(comm)
    heartbeat.set_phase(phase)
    if phase.startswith("failed"):
        heartbeat.mark_failed(2)
    assert polls_until_abort(comm, heartbeat, timeout) == polls


@pytest.mark.parametrize("in_collective", [False, True])
def test_a_start_has_its_own_timeout_for_this_rank_and_for_ranks_without_a_record(in_collective):
    grace = GRACE_POLLS if in_collective else 0
    comm = StubRanks(2, in_collective)
    assert polls_until_abort(comm, Heartbeat(comm), 3) == watchdog.STARTUP_TIMEOUT + grace
    assert comm.reason.endswith(f"; {RESTART_AFTER_STALL}") and "checkpoint" not in comm.reason
    comm = StubRanks(2, in_collective)
    heartbeat = Heartbeat(comm)
    heartbeat.set_phase("update", 1)
    assert polls_until_abort(comm, heartbeat, 3) == 3 + grace
    assert comm.reason.endswith(f"; {RESUME_AFTER_STALL}")


@pytest.mark.parametrize("phase, seconds", [("collect", 20), ("failed in collect", watchdog.CLEANUP_TIMEOUT)])
def test_a_waiting_rank_names_the_ranks_that_stall_outside_of_a_collective(phase, seconds):
    comm = StubRanks(3, in_collective=True)
    heartbeat = Heartbeat(comm)
    heartbeat.set_phase("update")
    # the fourth belongs to another run
    heartbeat.peer_records = {
        rank: heartbeat.record() | {"rank": rank, "phase": phase, "waiting": rank < 2} for rank in range(4)
    }
    assert polls_until_abort(comm, heartbeat, 20) == seconds + GRACE_POLLS
    assert f"for other ranks: rank 2 on host h2: {phase}, iteration 0" in comm.reason
    assert "rank 3" not in comm.reason


def test_a_file_system_that_hangs_does_not_block_the_watchdog(tmp_path, monkeypatch):
    repaired = threading.Event()
    for module in (watchdog, heartbeats):
        monkeypatch.setattr(module, "POLL_INTERVAL", 0.02)
    comm = StubRanks()
    heartbeat = Heartbeat(comm, tmp_path)
    heartbeat.set_phase("checkpoint")
    monkeypatch.setattr(os, "pwrite", lambda *args: repaired.wait())
    monkeypatch.setattr(heartbeats, "read_heartbeats", lambda directory: repaired.wait())
    heartbeat.start()
    started = Watchdog(comm, heartbeat, timeout=0.1).start()
    assert comm.aborted.wait(10)
    assert "no progress for" in comm.reason
    repaired.set()
    heartbeat.close()
    started.stop()


def test_a_watchdog_that_fails_reports_it(monkeypatch, capfd):
    monkeypatch.setattr(watchdog, "POLL_INTERVAL", 0.01)
    comm = StubRanks()
    heartbeat = Heartbeat(comm)
    monkeypatch.setattr(heartbeat, "record", lambda: {})
    started = Watchdog(comm, heartbeat, timeout=5).start()
    started._thread.join(10)
    assert "rank 0 on host h0: the watchdog has stopped: KeyError: 'phase'" in capfd.readouterr().err


def test_lock_watchdog_closed_by_two_threads_closes_its_descriptor_once(monkeypatch):
    # a second close would be of whatever file has the descriptor by then
    monkeypatch.setattr(lock_watchdog, "SCRIPT", "sleep 0.3")  # so that the first close still waits for the shell
    found = lock_watchdog.LockWatchdog("rank 0 on host h")
    found.rearm(60.0)
    descriptor = found._shell.pipe
    with ThreadPoolExecutor(2) as pool, mock.patch.object(os, "close", wraps=os.close) as close:
        for done in [pool.submit(found.close) for _ in range(2)]:
            done.result()
    assert [call.args for call in close.call_args_list].count((descriptor,)) == 1
    found.rearm(60.0)  # does nothing
    assert found._shell is None


def test_lock_watchdog_is_disarmed_though_the_other_thread_hangs_in_it(monkeypatch):
    monkeypatch.setattr(lock_watchdog, "CLOSE_TIMEOUT", 0.02)
    found, disarmed = lock_watchdog.LockWatchdog("rank 0 on host h"), []
    found.rearm(60.0)
    with monkeypatch.context() as patched, found._lock:
        patched.setattr(lock_watchdog.faulthandler, "cancel_dump_traceback_later", lambda: disarmed.append(True))
        found.close()
    assert disarmed == [True] and found._shell.pipe >= 0  # the pipe stays open for the other thread
    found.rearm(60.0)  # does nothing
    found.close()
    assert found._shell is None


HOLDS_LOCK = """if True:
    import ctypes, os, signal, sys, threading, time
    from common.distributed.lock_watchdog import LockWatchdog

    def hang():
        ctypes.PyDLL(None).sleep(60)  # unlike CDLL, PyDLL keeps Python's lock during the call

    lock_watchdog = LockWatchdog("rank 0 on host h")
    lock_watchdog.rearm(1.0)
    if sys.argv[1] == "hang":
        hang()
    elif sys.argv[1] == "suspended":  # by another process, which lets it continue after both timeouts
        os.system(f"(sleep 1.5; kill -CONT {os.getpid()}) & kill -STOP {os.getpid()}")
        lock_watchdog.rearm(5.0)
        time.sleep(0.2)
    elif sys.argv[1] == "disarmed":
        lock_watchdog.rearm(float("inf"))
        time.sleep(1.5)
    lock_watchdog.close()
    print("ended well")
"""


def run_with_lock_watchdog(fault):
    return subprocess.run(
        [sys.executable, "-c", HOLDS_LOCK, fault],
        capture_output=True,
        text=True,
        env=jobs.support_path(),
        timeout=60,
    )


def test_a_stall_that_holds_pythons_lock_is_reported_with_its_stack_and_killed():
    done = run_with_lock_watchdog("hang")
    assert done.returncode == -9
    assert done.stderr.startswith(
        "rank 0 on host h: no progress, and Python's global lock is held; its stacks follow\n"
    )
    assert " in hang\n" in done.stderr


@pytest.mark.parametrize("fault", ["none", "suspended", "disarmed"])
def test_a_process_that_makes_progress_or_was_suspended_is_not_killed(fault):
    done = run_with_lock_watchdog(fault)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended well\n", "")
