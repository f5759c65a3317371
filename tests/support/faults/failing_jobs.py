"""Jobs whose environment fails on one rank (tests/support/faults/failing_ranks.py)."""

import json
import re
import socket
import time

from jobs import RUN_UNCOMPILED, run, support_path, wait_gone

from common.distributed.heartbeat import read_heartbeats

HOST = re.escape(socket.gethostname())
STALL_TIMEOUT = 4  # seconds
START_TIMEOUT = 90  # seconds, on a busy machine
SEGMENT = 64  # steps
FAULT_STEP = 300  # iteration 4, step 43


def argv_for(fault, run_dir, *more, bad_rank=0):
    """Return the arguments of a run with a fault on one rank."""
    kwargs = json.dumps({"fault": fault, "bad_rank": bad_rank, "at": FAULT_STEP})
    return [
        RUN_UNCOMPILED,
        "--env",
        "failing_ranks:FailsOnOneRank-v0",
        "--env-kwargs",
        kwargs,
        "--run-dir",
        run_dir,
        "--num-timesteps",
        "1e7",
        "--batch",
        "per-rank",
        "--num-envs",
        "1",
        "--timesteps-per-actorbatch",
        SEGMENT,
        "--optim-batchsize",
        "32",
        "--checkpoint-every",
        "2",
        "--report",
        "false",
        *more,
    ]


def run_with_fault(ranks, fault, run_dir, *more, bad_rank=0):
    """Run a job and return (status, stderr, seconds from the bad rank's last change of phase to the end)."""
    argv = argv_for(fault, run_dir, *more, bad_rank=bad_rank)
    done = run(ranks, *argv, env=support_path(), timeout=START_TIMEOUT + 60)
    seconds = time.time() - read_heartbeats(run_dir / "ranks")[bad_rank]["since"]
    wait_gone(run_dir)
    return done.returncode, done.stderr, seconds


def wait_for(condition, process):
    """Wait until `condition()` is true while a process runs."""
    deadline = time.monotonic() + START_TIMEOUT
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


def last_iteration(run_dir):
    """Return the highest iteration of any rank so far."""
    return max((record["iteration"] for record in read_heartbeats(run_dir / "ranks").values()), default=0)
