"""Threads that run functions side by side hold up neither what failed in one of them nor the end of the process."""

import subprocess
import sys
import threading

import jobs
import pytest

from common.runtime import thread_pool
from common.runtime.thread_pool import NamedThreadPool


def test_results_come_in_the_order_of_the_functions_time_after_time():
    pool, come = NamedThreadPool(["one", "two"]), threading.Event()
    for _ in range(3):
        come.clear()
        assert pool.results(
            pool.start([lambda: come.wait(10) and threading.current_thread().name, lambda: come.set() or 2])
        ) == ["one", 2]
    assert pool.where() == ""


def test_what_one_raises_is_not_held_up_by_another_that_hangs_and_where_that_stands_is_told(monkeypatch):
    monkeypatch.setattr(thread_pool, "PEER_JOIN_TIMEOUT", 0.1)
    pool, never = NamedThreadPool(["environments 0 to 1", "environments 2 to 3"]), threading.Event()
    with pytest.raises(SystemExit, match="gone"):
        pool.results(pool.start([never.wait, lambda: sys.exit("gone")]))
    assert pool.where().startswith("at ") and pool.where().endswith(" in wait() (environments 0 to 1)")
    never.set()


def test_threads_end_with_what_holds_them():
    pool = NamedThreadPool(["one", "two"])
    own = pool.threads
    del pool
    for thread in own:
        thread.join(10)
        assert not thread.is_alive()


def test_a_process_ends_though_a_thread_hangs_after_what_is_under_way_has_had_its_time():
    script = (
        "import atexit, time; from common.runtime import thread_pool; thread_pool.PATIENCE = {}; t = thread_pool.NamedThreadPool(['a']); t.start([lambda: time.sleep({})]); "
        "atexit.register(thread_pool.force_exit_when_overdue, 130)"
    )
    for patience, seconds, status in ((5, 0.2, 0), (0.5, 600, 130)):
        assert (
            subprocess.run(
                [sys.executable, "-c", script.format(patience, seconds)], env=jobs.support_path(), timeout=20
            ).returncode
            == status
        )
