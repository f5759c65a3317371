"""A rank that leaves an MPI job ends it, in a user's script, too, and a blocked stderr does not prevent that."""

import os
import re
import subprocess
import sys
import time

import jobs
import pytest

SCRIPT = jobs.ROOT / "tests" / "support" / "faults" / "leaves_job.py"


@pytest.mark.parametrize(
    "how, leaver, message",
    [
        ("raises", 2, r"rank 2 on host \S+: ValueError: invalid literal for int\(\) with base 10: 'no number'"),
        ("exits", 2, r"rank 0 on host \S+: waits for rank 2 on host \S+, which has ended"),
        pytest.param(
            "just ends", 0, r"rank 1 on host \S+: waits for rank 0 on host \S+, which has ended", marks=pytest.mark.slow
        ),
    ],
)
def test_a_rank_that_leaves_ends_the_job_and_is_named(how, leaver, message):
    began = time.monotonic()
    done = jobs.run(4, SCRIPT, how, leaver, timeout=60, env=jobs.support_path())
    # 3 s of it since the rank left: PEER_EXIT_GRACE, and ABORT_STAGGER_PER_RANK if rank 1 reports it
    assert done.returncode != 0 and time.monotonic() - began < 20
    lines = [line for line in done.stderr.splitlines() if line.startswith("rank ")]
    assert len(lines) == 1 and re.search(f"^{message}", lines[0]), done.stderr
    assert ("Traceback" in done.stderr) == (how == "raises")


def test_ranks_that_end_at_different_times_end_normally():
    done = jobs.run(4, SCRIPT, "stays", 0, timeout=60, env=jobs.support_path())
    assert (done.returncode, done.stdout) == (0, "all finished\n"), done.stderr


LONG_REASON = """if True:
    import time
    from common.distributed import communicator
    comm = communicator.world()
    comm.gather(None)
    if comm.rank == 1:
        comm.exit_reason = "much " * 200_000  # an exception's text can have any length
    else:
        time.sleep(2)  # rank 1 no longer polls for exit notices
        comm.gather(None)
"""


def test_an_exit_reason_of_any_length_arrives_intact_before_it_is_received():
    # overwrites freed memory
    done = jobs.run(2, "-c", LONG_REASON, timeout=60, env=jobs.support_path() | {"MALLOC_PERTURB_": "165"})
    assert re.search(
        r"^rank 0 on host \S+: waits for rank 1 on host \S+, which has ended: (much )+", done.stderr, re.M
    ), done.stderr
    assert "Traceback" not in done.stderr


ENDS_LATER = """if True:
    import atexit, sys, time

    def finalise():  # like mpi4py's own hook
        from mpi4py import MPI
        until = time.monotonic() + 1
        while time.monotonic() < until:
            MPI.COMM_WORLD.iprobe(tag=1)  # lets MPI receive other messages
        MPI.Finalize()
        print("ended normally\\n", end="", flush=True)

    if sys.argv[1] == "itself":
        atexit.register(finalise)
    from common.distributed import communicator
    comm = communicator.world()
    comm.gather(None)
    if comm.rank == 0:
        time.sleep(1.5)
    if sys.argv[1] == "in the script":
        finalise()
"""


@pytest.mark.parametrize("how", ["itself", "in the script"])
def test_mpi_finalises_normally_whenever_ranks_end(how):
    done = jobs.run(3, "-c", ENDS_LATER, how, timeout=60, env=jobs.support_path())
    assert (done.returncode, done.stdout) == (0, "ended normally\n" * 3), done.stderr


def test_a_full_stderr_pipe_does_not_keep_a_rank_from_ending():
    fill = "import os; os.set_blocking(2, False)\ntry:\n    while True: os.write(2, b'x' * 1024)\nexcept BlockingIOError: os.set_blocking(2, True)\n"
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            fill
            + "from common.distributed.communicator import Communicator; Communicator(None).report_and_abort('stuck', 3, immediately=True)",
        ],
        stderr=write_end,
        env=jobs.support_path(),
    )
    try:
        assert process.wait(30) == 3
    finally:
        process.kill()
        os.close(read_end)
        os.close(write_end)
