"""The stacks of a process killed by a signal reach stderr and a file; one that ends normally leaves nothing."""

import os
import re
import signal
import subprocess
import sys
import time

import jobs
import pytest

from common.runtime.crash_stacks import signal_name

PRELUDE = """if True:
    import atexit, ctypes, faulthandler, os, signal, subprocess, sys
    from common.runtime.crash_stacks import stacks
    from common.distributed.communicator import Communicator
    from common.runtime.tf_import import stderr_on_error_only
    me, ranks = Communicator(None), sys.argv[1] + "/ranks"

    def crash():
        ctypes.string_at(0)
"""
HEAD = "rank 0 on host .* was killed by a signal; its stacks follow"


def run_code(directory, code, *flags, script='exec "$0" "$@"'):
    """Run lines of Python after `PRELUDE`; return (status, stderr, {name: text} of the files in ranks/).

    Also checks that no process of it is left.
    """
    argv = [
        sys.executable,
        *flags,
        "-c",
        PRELUDE + "".join(f"    {line}\n" for line in code.splitlines()),
        str(directory),
    ]
    done = subprocess.run(
        ["sh", "-c", script, *argv], capture_output=True, text=True, env=jobs.support_path(), cwd=jobs.ROOT, timeout=60
    )
    jobs.wait_gone(directory)
    return done.returncode, done.stderr, {path.name: path.read_text() for path in directory.glob("ranks/*")}


@pytest.mark.parametrize(
    "name, what",
    [
        ("SIGSEGV", "Segmentation fault"),
        ("SIGABRT", "Aborted"),
        ("SIGBUS", "Bus error"),
        ("SIGFPE", "Floating.point exception"),
        ("SIGILL", "Illegal instruction"),
    ],
)
def test_stacks_of_any_fatal_signal_are_on_stderr_and_in_the_file(name, what, tmp_path):
    code = f"def dies():\n    os.kill(os.getpid(), signal.{name})\nstacks.push_target(me, ranks, 'hint')\ndies()"
    status, stderr, files = run_code(tmp_path, code)
    assert status == -signal.Signals[name] and [*files] == ["0.stacks"]
    for text in (stderr, files["0.stacks"]):
        assert re.match(
            rf"{HEAD}, and are in {re.escape(str(tmp_path))}/ranks/0\.stacks; hint.*\nFatal Python error: {what}\n(.|\n)* in dies\n",
            text,
        ), text


CRASHES = "stacks.push_target(me, ranks)\ncrash()"


@pytest.mark.parametrize(
    "code, flags, script, on_stderr, in_file",
    [
        pytest.param(CRASHES, ["-OO"], None, "labelled", True, id="optimised"),
        pytest.param(
            "stacks.push_target(me, ranks)\nwith stderr_on_error_only():\n    crash()",
            [],
            None,
            "labelled",
            True,
            id="stderr suppressed",
        ),
        pytest.param(CRASHES, [], 'exec "$0" "$@" 2>&-', "", True, id="stderr closed"),
        pytest.param(CRASHES, [], 'exec "$0" "$@" <&- >&- 2>&-', "", True, id="all closed"),
        pytest.param("sys.stderr = None\n" + CRASHES, [], None, "labelled", True, id="stderr none"),
        pytest.param("os.environ['PATH'] = '/nowhere'\n" + CRASHES, [], None, "bare", False, id="no shell"),
        pytest.param("faulthandler.enable()\n" + CRASHES, [], None, "bare", False, id="existing handler"),
        pytest.param(
            "stacks.enable(replace=True)\n" + CRASHES,
            ["-X", "faulthandler"],
            None,
            "labelled",
            True,
            id="the interpreter's option",
        ),
        pytest.param("stacks.push_target(me, ranks)()\ncrash()", [], None, "bare", False, id="removed"),
        pytest.param(
            "pop = stacks.push_target(me, ranks + '/..')\nstacks.push_target(me, ranks)\npop()\ncrash()",
            [],
            None,
            "labelled",
            True,
            id="two targets, first removed",
        ),
        pytest.param(
            "stacks.push_target(me, ranks)\nstacks.push_target(me)()\ncrash()",
            [],
            None,
            "labelled",
            True,
            id="two targets, second removed",
        ),
        pytest.param(
            "stacks.push_target(me, ranks)\natexit.register(crash)", [], None, "labelled", True, id="at the end"
        ),
        pytest.param(
            "atexit.register(crash)\nstacks.push_target(me, ranks)", [], None, "bare", False, id="at the very end"
        ),
        pytest.param(
            "stacks.push_target(me, ranks)\nif os.fork() == 0:\n    sys.exit()\nos.wait()\ncrash()",
            [],
            None,
            "labelled",
            True,
            id="after a fork",
        ),
    ],
)
def test_stacks_reach_stderr_and_the_file_where_these_exist(code, flags, script, on_stderr, in_file, tmp_path):
    status, stderr, files = run_code(tmp_path, code, *flags, script=script or 'exec "$0" "$@"')
    assert status == -signal.SIGSEGV
    for text, labelled in ((stderr, on_stderr == "labelled"), *((text, True) for text in files.values())):
        assert (
            not on_stderr
            and text is stderr
            or re.search(r"^Fatal Python error: Segmentation fault$(.|\n)* in crash$", text, re.M)
        ), text
        assert bool(re.match(HEAD, text)) == labelled, text
    assert [*files] == ["0.stacks"] * in_file


def test_a_handler_of_another_language_is_not_replaced(tmp_path):
    code = (
        "handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: os._exit(7))\nctypes.CDLL(None).signal(signal.SIGSEGV, handler)\n"
        + CRASHES
    )
    assert run_code(tmp_path, code) == (7, "", {})


@pytest.mark.parametrize(
    "code",
    [
        "stacks.enable()",
        "stacks.push_target(me, ranks)",
        "stacks.push_target(me, ranks)()\nassert subprocess.run(['pgrep', '-P', str(os.getpid()), 'sh']).returncode == 1",
    ],
)
def test_a_process_that_ends_normally_leaves_no_file_no_process_and_no_output(code, tmp_path):
    assert run_code(tmp_path, code, "-W", "error") == (0, "", {})


def test_a_process_that_is_killed_leaves_no_file(tmp_path):
    assert run_code(tmp_path, "stacks.push_target(me, ranks)\nos.kill(os.getpid(), signal.SIGKILL)") == (
        -signal.SIGKILL,
        "",
        {},
    )


def test_a_crash_replaces_an_older_file_but_not_its_hard_link_in_a_copy_of_the_directory(
    tmp_path,
):
    (tmp_path / "ranks").mkdir()
    for name in ("ranks/0.stacks", "ranks/1.stacks"):
        (tmp_path / name).write_text("older\n")
    os.link(tmp_path / "ranks/0.stacks", tmp_path / "copy")
    assert run_code(tmp_path, "stacks.push_target(me, ranks)")[2] == {"0.stacks": "older\n", "1.stacks": "older\n"}
    files = run_code(tmp_path, CRASHES)[2]
    assert re.match(HEAD, files["0.stacks"]) and files["1.stacks"] == (tmp_path / "copy").read_text() == "older\n"


def test_a_deleted_run_directory_is_not_created_again(tmp_path):
    code = f"stacks.push_target(me, {str(tmp_path / 'gone' / 'ranks')!r})\ncrash()"
    assert re.search(" in crash\n", run_code(tmp_path, code)[1])
    assert not (tmp_path / "gone").exists()


def test_signals_to_the_job_do_not_end_the_shell(tmp_path):
    code = """stacks.push_target(me, ranks)
pid = stacks._shell.process.pid
while not int(open(f"/proc/{pid}/status").read().partition("SigIgn:")[2].split()[0], 16) >> signal.SIGTERM - 1 & 1:
    pass  # the shell has not executed trap yet
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
    os.kill(pid, number)
crash()"""
    assert re.search(" in crash\n", run_code(tmp_path, code)[2]["0.stacks"])


def test_a_full_stderr_pipe_does_not_delay_the_file(tmp_path):
    fill = "os.set_blocking(2, False)\ntry:\n    while True: os.write(2, b'x' * 1024)\nexcept BlockingIOError: os.set_blocking(2, True)\n"
    read_end, write_end = os.pipe()
    code = PRELUDE + "".join(
        f"    {line}\n"
        for line in (fill + "stacks.push_target(me, ranks)\nprint(end='', flush=True)\ncrash()").splitlines()
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stderr=write_end, env=jobs.support_path(), cwd=jobs.ROOT
    )
    os.close(write_end)
    try:
        assert process.wait(30) == -signal.SIGSEGV
        deadline = time.monotonic() + 10
        while "Extension modules" not in "".join(path.read_text() for path in tmp_path.glob("ranks/*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.close(read_end)
    jobs.wait_gone(tmp_path)


def test_a_signal_without_a_name_is_its_number():
    assert (signal_name(11), signal_name(signal.SIGRTMIN + 3)) == ("SIGSEGV", str(signal.SIGRTMIN + 3))
