"""A thread of a pool that hangs delays neither an error in another thread nor the end of the process."""

import subprocess
import sys
import threading

import jobs
import pytest

from common.runtime import thread_pool
from common.runtime.thread_location import describe_location
from common.runtime.thread_pool import NamedThreadPool


def test_results_are_in_the_order_of_the_functions_in_every_round():
    pool = NamedThreadPool(["one", "two"])
    released = threading.Event()
    for _ in range(3):
        released.clear()
        first = lambda: released.wait(10) and threading.current_thread().name  # noqa: E731
        assert pool.gather(pool.submit_all([first, lambda: released.set() or 2])) == ["one", 2]
    assert pool.describe_location() == ""


def test_an_error_is_raised_while_another_thread_hangs_and_the_hanging_one_is_located(monkeypatch):
    monkeypatch.setattr(thread_pool, "PEER_JOIN_TIMEOUT", 0.1)
    pool = NamedThreadPool(["environments 0 to 1", "environments 2 to 3"])
    never = threading.Event()
    with pytest.raises(SystemExit, match="gone"):
        pool.gather(pool.submit_all([never.wait, lambda: sys.exit("gone")]))
    assert pool.describe_location().startswith("at ")
    assert pool.describe_location().endswith(" in wait() (environments 0 to 1)")
    never.set()


def test_a_thread_that_gathers_is_located_in_the_pools_threads():
    pool = NamedThreadPool(["hanging"])
    never = threading.Event()
    caller = threading.Thread(target=lambda: pool.gather(pool.submit_all([never.wait])))
    caller.start()
    while "(hanging)" not in describe_location(caller.ident):
        assert caller.is_alive()
    never.set()
    caller.join(10)
    assert not caller.is_alive() and describe_location(caller.ident) == ""


def test_threads_end_with_their_pool():
    pool = NamedThreadPool(["one", "two"])
    threads = pool.threads
    del pool
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("exit_timeout, seconds, status", [(5, 0.2, 0), (0.5, 600, 130)])
def test_a_process_ends_when_busy_threads_have_finished_or_their_time_is_over(exit_timeout, seconds, status):
    script = f"""if True:
        import atexit, time
        from common.runtime import thread_pool
        thread_pool.EXIT_TIMEOUT = {exit_timeout}
        pool = thread_pool.NamedThreadPool(["a"])
        pool.submit_all([lambda: time.sleep({seconds})])
        atexit.register(thread_pool.force_exit_when_overdue, 130)
    """
    done = subprocess.run([sys.executable, "-c", script], env=jobs.support_path(), timeout=20)
    assert done.returncode == status
