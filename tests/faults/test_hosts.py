"""Two hosts train the same policy as one, and a job ends with a reason when the link between them is cut."""

import itertools
import subprocess
import sys
import time

import hosts
import numpy as np
import pytest
from jobs import RUN, mpirun, run, wait_gone
from tolerance import gamma

from baselines_ppo.policy_registry import load_policy
from common.distributed.heartbeat import read_heartbeats

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hosts.available(), reason="needs root and iproute2")]
TAGS = itertools.count(40)
STALL = 8  # seconds


@pytest.fixture
def pair(tmp_path):
    made = hosts.Hosts(tmp_path, next(TAGS))
    yield made
    made.link("up")
    made.close()


def argv_for(run_dir, iterations, averaging, *more):
    return [
        RUN,
        "--env",
        "CartPole-v1",
        "--run-dir",
        run_dir,
        "--max-iters",
        iterations,
        "--num-envs",
        1,
        "--batch",
        "per-rank",
        "--timesteps-per-actorbatch",
        128,
        "--optim-batchsize",
        64,
        "--averaging",
        averaging,
        "--checkpoint-every",
        5,
        "--report",
        "false",
        "--quiet",
        "--stall-timeout",
        STALL,
        *more,
    ]


def weights(run_dir):
    return np.concatenate([x.ravel() for x in load_policy(run_dir / "policy" / "policy.safetensors").state().values()])


@pytest.mark.parametrize("averaging", ["gather", "average"])
def test_two_hosts_train_the_same_policy_as_one(averaging, pair, tmp_path):
    # MPI's order of summation depends on where the ranks are. So only one update is compared, before the policy acts
    # with its rounding error, and with an epsilon that keeps Adam from amplifying that error
    settings = (3, "gather") if averaging == "gather" else (1, "average", "--adam-epsilon", 1, "--optim-stepsize", 0.01)
    assert run(4, *argv_for(tmp_path / "one", *settings)).returncode == 0
    before = pair.packets()
    done = subprocess.run(
        pair.command(mpirun(), 4, sys.executable, *argv_for(tmp_path / "two", *settings)),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert pair.packets() - before > 100  # the ranks used the network
    assert {record["host"] for record in read_heartbeats(tmp_path / "two" / "ranks").values()} == set(pair.names)
    if averaging == "gather":
        assert np.array_equal(weights(tmp_path / "one"), weights(tmp_path / "two"))
    else:
        # 20 steps of 0.01 times the error of a gradient of size 40 (value targets are about 20): a mean of 256 rows
        # through three layers of 64 units
        np.testing.assert_allclose(
            weights(tmp_path / "one"), weights(tmp_path / "two"), rtol=0, atol=2 * 20 * 0.01 * gamma(256 + 6 * 64) * 40
        )


def test_a_cut_link_ends_the_job_with_a_reason_and_the_run_resumes_when_it_is_restored(pair, tmp_path):
    iterations = 2000
    command = pair.command(mpirun(), 2, sys.executable, *argv_for(tmp_path / "run", iterations, "gather"))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run" / "checkpoints").glob("*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    pair.link("down")
    cut = time.monotonic()
    output = process.communicate(timeout=STALL + 60)[0]
    assert process.returncode != 0
    assert time.monotonic() - cut < STALL + 30
    assert "all ranks wait for each other: is a host or the network down?" in output
    wait_gone(tmp_path / "run")
    pair.link("up")
    reached = max(int(path.name[5:13]) for path in (tmp_path / "run" / "checkpoints").glob("ckpt-*"))
    more = ["--resume", "--run-dir", tmp_path / "run", "--max-iters", reached + 10]
    done = subprocess.run(
        pair.command(mpirun(), 2, sys.executable, RUN, *more), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
