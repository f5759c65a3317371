"""A rank that raises, exits, crashes or diverges ends the job on all ranks soon, and the message names it."""

import re
import signal
import subprocess
import time

import pytest
from failing_jobs import (
    HOST,
    START_TIMEOUT,
    argv_for,
    last_iteration,
    run_with_fault,
    wait_for,
)
from jobs import ROOT, command, run, support_path, wait_gone

from baselines_ppo.cli.command_lines import resume_command
from common.distributed.heartbeat import read_heartbeats


@pytest.mark.parametrize("averaging", ["gather", pytest.param("average", marks=pytest.mark.slow)])
def test_a_rank_whose_parameters_diverge_is_named_and_no_checkpoint_is_written(averaging, tmp_path):
    status, stderr, seconds = run_with_fault(2, "flip", tmp_path / "run", "--averaging", averaging, bad_rank=1)
    assert status not in (0, 2)
    assert seconds < 10
    assert re.search(
        rf"replicas diverged: rank 1 on host {HOST} has a different pi/000/pol/fc1/b than the other ranks; .* --resume",
        stderr,
    )
    checkpoints = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert max(checkpoints) == "ckpt-00000004.safetensors"  # the ranks diverge in the fifth iteration


@pytest.mark.parametrize(
    "fault, reason", [("raise", "the simulator broke"), pytest.param("exit", "SystemExit: 3", marks=pytest.mark.slow)]
)
def test_a_rank_that_raises_or_exits_ends_the_job_with_the_reason(fault, reason, tmp_path):
    status, stderr, seconds = run_with_fault(4, fault, tmp_path / "run", bad_rank=2)
    assert status not in (0, 2)
    assert seconds < 10
    assert re.search(rf"rank 2 on host {HOST}: .*{reason}", stderr)
    assert read_heartbeats(tmp_path / "run" / "ranks")[2]["phase"] == "failed in collect"


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault, message",
    [
        ("exit", "waits for rank 2 on host {0}, which has ended: SystemExit: 3"),
        ("raise", "rank 2 on host {0}: EnvError: .*the simulator broke"),
    ],
)
def test_a_rank_that_raises_or_exits_in_a_users_script_ends_the_job(fault, message):
    done = run(
        4, ROOT / "tests" / "support" / "faults" / "learn_alone.py", fault, 2, env=support_path(), timeout=START_TIMEOUT
    )
    assert done.returncode != 0
    assert re.search(message.format(HOST), done.stderr), done.stderr


def test_a_killed_rank_ends_the_job_and_its_last_phase_is_on_disk(tmp_path):
    status, _, seconds = run_with_fault(4, "die", tmp_path / "run", bad_rank=2)
    assert status not in (0, 2)
    assert seconds < 10
    last = read_heartbeats(tmp_path / "run" / "ranks")
    assert (last[2]["phase"], last[2]["iteration"]) == ("collect", 4)
    assert len(last) == 4


STACKS = r"rank {0} on host {1} was killed by a signal; its stacks follow, and are in {2}.*\nFatal Python error: Segmentation fault\n(.|\n)* in crash\n"

# number of ranks -> exit statuses; MPICH's mpirun adds 128 if there is a core dump
CRASH_STATUSES = {1: (-signal.SIGSEGV,), 2: (signal.SIGSEGV, 128 + signal.SIGSEGV)}


@pytest.mark.parametrize("ranks, bad_rank", [(1, 0), (2, 1)])
def test_a_crashed_rank_leaves_its_stacks_on_stderr_and_in_ranks(ranks, bad_rank, tmp_path):
    run_dir = tmp_path / "run"
    status, stderr, seconds = run_with_fault(ranks, "crash", run_dir, bad_rank=bad_rank)
    assert status in CRASH_STATUSES[ranks] and seconds < 10
    left = run_dir / "ranks" / f"{bad_rank}.stacks"
    for text in (stderr, left.read_text()):
        assert re.search(STACKS.format(bad_rank, HOST, re.escape(str(left))), text), text
    assert f"; resume with: {resume_command(run_dir, ranks)}\n" in stderr
    # none of those that the launcher ended
    assert sorted(path.name for path in left.parent.glob("*.stacks")) == [left.name]
    assert read_heartbeats(left.parent)[bad_rank]["phase"] == "collect"


@pytest.mark.parametrize("ranks, bad_rank", [(1, 0), pytest.param(2, 1, marks=pytest.mark.slow)])
def test_a_crash_in_a_users_script_leaves_its_stacks_too(ranks, bad_rank, tmp_path):
    done = run(
        ranks,
        ROOT / "tests" / "support" / "faults" / "learn_alone.py",
        "crash",
        bad_rank,
        tmp_path / "run",
        env=support_path(),
        timeout=START_TIMEOUT,
    )
    assert done.returncode in CRASH_STATUSES[ranks]
    left = tmp_path / "run" / "ranks" / f"{bad_rank}.stacks"
    for text in (done.stderr, left.read_text()):
        assert re.search(STACKS.format(bad_rank, HOST, re.escape(str(left))), text), text
    wait_gone(tmp_path / "run")


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_schedulers_signal_writes_a_checkpoint_and_the_same_command_resumes(ranks, tmp_path):
    run_dir = tmp_path / "run"
    script = command(ranks, *argv_for("none", run_dir, "--resume", "auto"))
    for attempt, begun, number in ((0, "", signal.SIGUSR1), (1, "resume: continuing from ckpt-", signal.SIGTERM)):
        process = subprocess.Popen(
            script, env=support_path(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        iterations = last_iteration(run_dir)
        wait_for(lambda least=iterations + 3: last_iteration(run_dir) >= least, process)
        process.send_signal(number)
        warned = time.monotonic()
        stderr = process.communicate(timeout=START_TIMEOUT)[0]
        assert time.monotonic() - warned < 10  # batch systems give 30 s and more
        assert process.returncode == 128 + number, stderr
        assert begun in stderr and ("resume:" in stderr) == bool(attempt)
        newest = max((run_dir / "checkpoints").glob("*.safetensors")).name
        assert newest >= f"ckpt-{iterations + 3:08d}" and (
            newest.endswith("-forced.safetensors") or int(newest[5:13]) % 2 == 0
        ), newest
    wait_gone(run_dir)
