"""One rank raises, leaves, dies or stalls: the job ends on all of them, soon, and says which rank it was and where it stood."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from jobs import ROOT, RUN_UNCOMPILED, command, run, support_path, wait_gone

from baselines_ppo import load_policy
from baselines_ppo.cli.command_lines import resume_command
from common.distributed.heartbeat import read_heartbeats

HOST, TIMEOUT, START = re.escape(socket.gethostname()), 4, 90  # seconds: to stall, and to start on a busy machine
SEGMENT, AT = 64, 300  # the fault comes in iteration 4, at step 43


def words(fault, run_dir, *more, bad_rank=0):
    kwargs = json.dumps({"fault": fault, "bad_rank": bad_rank, "at": AT})
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


def ended(ranks, fault, run_dir, *more, bad_rank=0):
    """(status, standard error, seconds from the last sign of life on the bad rank to the end)."""
    done = run(ranks, *words(fault, run_dir, *more, bad_rank=bad_rank), env=support_path(), timeout=START + 60)
    seconds = time.time() - read_heartbeats(run_dir / "ranks")[bad_rank]["since"]
    wait_gone(run_dir)
    return done.returncode, done.stderr, seconds


@pytest.mark.parametrize("ranks, bad_rank", [(1, 0), pytest.param(4, 2, marks=pytest.mark.slow)])
def test_an_environment_that_never_returns_is_named_with_its_rank_and_line(ranks, bad_rank, tmp_path):
    status, said, seconds = ended(ranks, "hang", tmp_path / "run", "--stall-timeout", TIMEOUT, bad_rank=bad_rank)
    assert status not in (0, 2)
    assert seconds < TIMEOUT + 10
    assert re.search(
        rf"rank {bad_rank} on host {HOST}: no progress for \d+ s in collect, iteration 4, step 43, "
        r"at .*failing_ranks\.py:\d+ in hang\(\); .*--resume",
        said,
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
def test_a_file_system_that_hangs_is_named_and_the_rank_ends_when_the_system_lets_it(tmp_path):
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


def test_a_rank_that_cannot_even_look_is_named_by_those_that_wait_for_it(tmp_path):
    status, said, seconds = ended(2, "hang_with_the_lock", tmp_path / "run", "--stall-timeout", TIMEOUT, bad_rank=1)
    assert status not in (0, 2)
    assert seconds < TIMEOUT + 20
    assert re.search(
        rf"rank 0 on host {HOST}: has waited \d+ s for other ranks: rank 1 on host {HOST}: collect, iteration 4, step",
        said,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "how, place",
    [
        ("--env-workers", r"in the process of environment 0 \(pid \d+\), at .*failing_ranks\.py:\d+ in hang\(\)"),
        ("--env-threads", r"at .*failing_ranks\.py:\d+ in hang\(\) \(environment 0\); at .* \(environment 1\)"),
    ],
)
def test_an_environment_in_a_process_or_a_thread_that_never_returns_is_named_with_its_line(how, place, tmp_path):
    status, said, seconds = ended(1, "hang", tmp_path / "run", "--stall-timeout", TIMEOUT, "--num-envs", 2, how, 2)
    assert status not in (0, 2)
    assert seconds < TIMEOUT + 10
    assert re.search(
        rf"rank 0 on host {HOST}: no progress for \d+ s in collect, iteration 9, step 11, {place}; .*--resume", said
    ), said


def test_an_environment_that_hangs_in_its_constructor_is_named(tmp_path):
    done = run(
        1, *words("hang_in_constructor", tmp_path / "run", "--stall-timeout", 1), env=support_path(), timeout=START
    )
    assert done.returncode == 1
    assert re.search(
        rf"rank 0 on host {HOST}: no progress for \d+ s in start, iteration 0, at .*failing_ranks\.py:\d+ in hang\(\)",
        done.stderr,
    )


@pytest.mark.slow
@pytest.mark.parametrize("ranks, bad_rank", [(1, 0), (4, 2)])
def test_an_environment_that_does_not_close_holds_up_neither_the_reason_of_a_failure_nor_the_end(
    ranks, bad_rank, tmp_path
):
    status, said, seconds = ended(ranks, "raise_and_hang_in_close", tmp_path / "run", bad_rank=bad_rank)
    assert status not in (0, 2)
    assert seconds < 10
    reason, closing = (
        said.index("the simulator broke, at step 43 of the segment of iteration 4"),
        said.index("in hang()"),
    )
    assert reason < closing and said.count("the simulator broke, at") == 1
    assert re.search(
        rf"rank {bad_rank} on host {HOST}: failed in collect, and cleaning up has not ended after \d s, at .* in hang\(\)",
        said,
    ), said


@pytest.mark.slow
def test_a_run_that_ended_well_keeps_its_policy_though_an_environment_does_not_close(tmp_path):
    status, said, seconds = ended(
        1, "hang_in_close", tmp_path / "run", "--num-timesteps", SEGMENT, "--stall-timeout", TIMEOUT
    )
    assert status not in (0, 2)
    assert seconds < TIMEOUT + 10
    assert re.search(
        r"no progress for \d+ s in closing, .* in hang\(\); the run had finished, and the policy is saved", said
    ), said
    load_policy(tmp_path / "run" / "policy")


@pytest.mark.parametrize("averaging", ["gather", pytest.param("average", marks=pytest.mark.slow)])
def test_a_rank_whose_parameters_drift_ends_the_job_with_its_name_and_without_a_checkpoint(averaging, tmp_path):
    status, said, seconds = ended(2, "flip", tmp_path / "run", "--averaging", averaging, bad_rank=1)
    assert status not in (0, 2)
    assert seconds < 10
    assert re.search(
        rf"replicas diverged: rank 1 on host {HOST} has a different pi/000/pol/fc1/b than the other ranks; .* --resume",
        said,
    )
    assert (
        max(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == "ckpt-00000004.safetensors"
    )  # it drifts in the fifth iteration


@pytest.mark.parametrize(
    "fault, reason", [("raise", "the simulator broke"), pytest.param("exit", "SystemExit: 3", marks=pytest.mark.slow)]
)
def test_a_rank_that_raises_or_exits_ends_the_job_and_says_why(fault, reason, tmp_path):
    status, said, seconds = ended(4, fault, tmp_path / "run", bad_rank=2)
    assert status not in (0, 2)
    assert seconds < 10
    assert re.search(rf"rank 2 on host {HOST}: .*{reason}", said)
    assert read_heartbeats(tmp_path / "run" / "ranks")[2]["phase"] == "failed in collect"


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault, said",
    [
        ("exit", "waits for rank 2 on host {0}, which has ended: SystemExit: 3"),
        ("raise", "rank 2 on host {0}: EnvError: .*the simulator broke"),
    ],
)
def test_a_rank_that_raises_or_exits_in_a_script_of_ones_own_ends_the_job(fault, said):
    done = run(4, ROOT / "tests" / "support" / "learn_alone.py", fault, 2, env=support_path(), timeout=START)
    assert done.returncode != 0
    assert re.search(said.format(HOST), done.stderr), done.stderr


def test_a_rank_that_is_killed_ends_the_job_and_its_last_phase_is_on_disk(tmp_path):
    status, _, seconds = ended(4, "die", tmp_path / "run", bad_rank=2)
    assert status not in (0, 2)
    assert seconds < 10
    last = read_heartbeats(tmp_path / "run" / "ranks")
    assert (last[2]["phase"], last[2]["iteration"]) == ("collect", 4)
    assert len(last) == 4


STACKS = r"rank {0} on host {1} was killed by a signal; its stacks follow, and are in {2}.*\nFatal Python error: Segmentation fault\n(.|\n)* in crash\n"

DIED = {
    1: (-signal.SIGSEGV,),
    2: (signal.SIGSEGV, 128 + signal.SIGSEGV),
}  # statuses by ranks: MPICH's mpirun adds 128 where there is a core


@pytest.mark.parametrize("ranks, bad_rank", [(1, 0), (2, 1)])
def test_a_rank_that_dies_of_a_signal_leaves_its_stacks_on_stderr_and_in_ranks(ranks, bad_rank, tmp_path):
    run_dir = tmp_path / "run"
    status, said, seconds = ended(ranks, "crash", run_dir, bad_rank=bad_rank)
    assert status in DIED[ranks] and seconds < 10
    left = run_dir / "ranks" / f"{bad_rank}.stacks"
    for text in (said, left.read_text()):
        assert re.search(STACKS.format(bad_rank, HOST, re.escape(str(left))), text), text
    assert f"; go on with: {resume_command(run_dir, ranks)}\n" in said
    assert sorted(path.name for path in left.parent.glob("*.stacks")) == [
        left.name
    ]  # none of those that the launcher ended
    assert read_heartbeats(left.parent)[bad_rank]["phase"] == "collect"


@pytest.mark.parametrize("ranks, bad_rank", [(1, 0), pytest.param(2, 1, marks=pytest.mark.slow)])
def test_so_does_one_in_a_script_of_ones_own(ranks, bad_rank, tmp_path):
    done = run(
        ranks,
        ROOT / "tests" / "support" / "learn_alone.py",
        "crash",
        bad_rank,
        tmp_path / "run",
        env=support_path(),
        timeout=START,
    )
    assert done.returncode in DIED[ranks]
    left = tmp_path / "run" / "ranks" / f"{bad_rank}.stacks"
    for text in (done.stderr, left.read_text()):
        assert re.search(STACKS.format(bad_rank, HOST, re.escape(str(left))), text), text
    wait_gone(tmp_path / "run")


def test_a_rank_that_was_only_stopped_for_a_while_has_not_stalled(tmp_path):
    process = subprocess.Popen(
        command(1, *words("none", tmp_path / "run", "--stall-timeout", TIMEOUT)),
        env=support_path(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: last_iteration(tmp_path / "run") > 1, process)
        process.send_signal(signal.SIGSTOP)
        time.sleep(TIMEOUT + 3)
        process.send_signal(signal.SIGCONT)
        time.sleep(2)
        assert process.poll() is None, process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def wait_for(condition, process):
    deadline = time.monotonic() + START
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_schedulers_warnings_write_a_checkpoint_in_time_and_one_line_in_a_job_script_starts_and_goes_on(
    ranks, tmp_path
):
    run_dir = tmp_path / "run"
    script = command(ranks, *words("none", run_dir, "--resume", "auto"))
    for attempt, begun, number in ((0, "", signal.SIGUSR1), (1, "resume: goes on from ckpt-", signal.SIGTERM)):
        process = subprocess.Popen(
            script, env=support_path(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        iterations = last_iteration(run_dir)
        wait_for(lambda least=iterations + 3: last_iteration(run_dir) >= least, process)
        process.send_signal(number)
        warned = time.monotonic()
        said = process.communicate(timeout=START)[0]
        assert time.monotonic() - warned < 10  # batch systems give 30 s and more
        assert process.returncode == 128 + number, said
        assert begun in said and ("resume:" in said) == bool(attempt)
        newest = max((run_dir / "checkpoints").glob("*.safetensors")).name
        assert newest >= f"ckpt-{iterations + 3:08d}" and (
            newest.endswith("-forced.safetensors") or int(newest[5:13]) % 2 == 0
        ), newest
    wait_gone(run_dir)


def last_iteration(run_dir):
    return max((record["iteration"] for record in read_heartbeats(run_dir / "ranks").values()), default=0)
