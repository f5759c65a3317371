"""Worker processes that raise, die or hang, and their end with their parent."""

import functools
import gc
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jobs
import numpy as np
import pytest
from worker_envs import FAULTS, Counting, Faulty, rollout

from common.errors import EnvError, UserError
from common.runtime.thread_pool import NamedThreadPool
from common.vec_env.factory import make_vector_env
from common.vec_env.subproc import SubprocVectorEnv, WorkerDiedError


def test_user_error_in_a_worker_is_raised_in_the_parent():
    with pytest.raises(UserError, match="environment 1 cannot be made"):
        SubprocVectorEnv(functools.partial(Faulty, "make"), 2, 2)


def test_other_workers_exit_if_one_cannot_be_started(monkeypatch):
    before, process, started = {*multiprocessing.active_children()}, multiprocessing.get_context("spawn").Process, []
    start = process.start

    def start_one(self):
        if started:
            raise BlockingIOError("no more processes")
        started.append(start(self))

    monkeypatch.setattr(process, "start", start_one)
    with pytest.raises(BlockingIOError, match="no more processes"):
        SubprocVectorEnv(Counting, 4, 2)
    gc.collect()
    assert started and not {*multiprocessing.active_children()} - before


@pytest.mark.parametrize("fault", FAULTS)
def test_exception_in_step_is_raised_with_its_traceback_and_environment(fault):
    env = SubprocVectorEnv(functools.partial(Faulty, fault), 4, 2)
    env.reset(seed=[0, 1, 2, 3])
    with pytest.raises(
        EnvError, match=f"^environment 1 raised {FAULTS[fault].__name__} in step: the simulator broke; "
    ) as caught:
        rollout(env, 1, np.zeros((1, 4, 1)))
    assert "in step\n    raise FAULTS[self.fault]" in str(caught.value.__cause__)
    env.close()


def test_killed_worker_is_reported_with_its_environments():
    env = SubprocVectorEnv(Counting, 4, 2)
    env.reset()
    os.kill(env.workers[1].process.pid, signal.SIGKILL)
    with pytest.raises(
        WorkerDiedError,
        match="process of environments 2 to 3 died of signal SIGKILL; was it killed, or out of memory",
    ):
        rollout(env, 1, np.zeros((1, 4, 1)))
    env.close()


@pytest.mark.parametrize(
    "fault, expected",
    [
        ("crash", "died of signal SIGSEGV; its stacks are above"),
        ("exit", "raised SystemExit in step: 3"),
        ("exit at once", "exited with status 4; does the environment end its process"),
    ],
)
def test_worker_killed_by_its_environment_prints_its_stacks_and_the_signal_is_reported(fault, expected, capfd):
    env = make_vector_env("failing_ranks:FailsOnOneRank-v0", 1, workers=1, env_kwargs={"fault": fault, "at": 1})
    env.reset(seed=[0])
    with pytest.raises(EnvError, match=expected):
        rollout(env, 1, [[0]])
    env.close()
    assert bool(
        re.search(r"^Fatal Python error: Segmentation fault$(.|\n)* in crash$", capfd.readouterr().err, re.M)
    ) == (fault == "crash")


HANGS = {"fault": "hang", "at": 3}


def test_hanging_worker_reports_its_line_and_is_killed_after_the_others_close(monkeypatch, capfd):
    monkeypatch.setattr("common.vec_env.subproc.CLOSE_TIMEOUT", 0.5)
    before = {*multiprocessing.active_children()}
    env = make_vector_env("failing_ranks:FailsOnOneRank-v0", 3, workers=3, env_kwargs=HANGS)
    env.reset(seed=[0, 1, 2])
    pool = NamedThreadPool(["stepping"])
    pool.submit_all([lambda: rollout(env, 3, [[0, 0, 0]] * 3)])
    where = rf"in the process of environment 0 \(pid {env.workers[0].process.pid}\), at .*failing_ranks\.py:\d+ in hang\(\) \(stepping\)"
    deadline = time.monotonic() + 10
    while not re.fullmatch(where, found := pool.describe_location()):  # until the step in which they hang
        assert time.monotonic() < deadline, found
    start = time.monotonic()
    env.close()
    assert time.monotonic() - start < 3 * 0.5 and not {*multiprocessing.active_children()} - before
    assert "environment 2 did not close within 0.5 s: killing the process" in capfd.readouterr().err


def test_hanging_worker_exits_a_few_seconds_after_its_parent(tmp_path):
    script = (
        "from common.vec_env.factory import make_vector_env\n"
        f"env = make_vector_env('failing_ranks:FailsOnOneRank-v0', 1, workers=1, env_kwargs={HANGS | {'at': 1}})\n"
        "env.reset(seed=[0]); env.workers[0].send('step', [0]); print(env.workers[0].process.pid, flush=True); env.workers[0].receive()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], env=jobs.support_path(), stdout=subprocess.PIPE)
    child = Path(f"/proc/{int(parent.stdout.readline())}")
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while child.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_workers_exit_with_their_parent_and_not_before(number, tmp_path):
    argv = [
        sys.executable,
        jobs.RUN_UNCOMPILED,
        "--env",
        "CartPole-v1",
        "--num-envs",
        "4",
        "--env-workers",
        "2",
        "--run-dir",
        str(tmp_path / "run"),
    ]
    parent = subprocess.Popen(
        argv,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # ignored if the tests run under nohup
    )
    log = tmp_path / "run/progress.csv"
    deadline = time.monotonic() + 120
    while not (log.exists() and len(log.read_text().splitlines()) > 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]
    assert len(children) >= 2
    if number != signal.SIGKILL:
        os.killpg(parent.pid, number)  # as a launcher does: also to the workers, whose steps the parent still needs
    else:
        os.kill(parent.pid, number)
    assert parent.wait(60) == (-number if number == signal.SIGKILL else 128 + number)
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
