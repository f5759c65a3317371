"""Stacks of a process that dies of a signal reach stderr and a file, whatever is redirected or missing; where it lives, nothing is left."""

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
HEAD = "rank 0 on host .* died of a signal; its stacks follow"


def ended(folder, code, *flags, script='exec "$0" "$@"'):
    """(status, stderr, {name: text} of the files in ranks/) of Python that runs some lines after `PRELUDE`; no shell of its own is left."""
    words = [
        sys.executable,
        *flags,
        "-c",
        PRELUDE + "".join(f"    {line}\n" for line in code.splitlines()),
        str(folder),
    ]
    done = subprocess.run(
        ["sh", "-c", script, *words], capture_output=True, text=True, env=jobs.support_path(), cwd=jobs.ROOT, timeout=60
    )
    jobs.wait_gone(folder)
    return done.returncode, done.stderr, {path.name: path.read_text() for path in folder.glob("ranks/*")}


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
def test_whatever_the_signal_the_stacks_are_on_stderr_and_in_the_file(name, what, tmp_path):
    code = f"def dies():\n    os.kill(os.getpid(), signal.{name})\nstacks.push_target(me, ranks, 'go on')\ndies()"
    status, said, files = ended(tmp_path, code)
    assert status == -signal.Signals[name] and [*files] == ["0.stacks"]
    for text in (said, files["0.stacks"]):
        assert re.match(
            rf"{HEAD}, and are in {re.escape(str(tmp_path))}/ranks/0\.stacks; go on.*\nFatal Python error: {what}\n(.|\n)* in dies\n",
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
            id="stderr held back",
        ),
        pytest.param(CRASHES, [], 'exec "$0" "$@" 2>&-', "", True, id="stderr closed"),
        pytest.param(CRASHES, [], 'exec "$0" "$@" <&- >&- 2>&-', "", True, id="all closed"),
        pytest.param("sys.stderr = None\n" + CRASHES, [], None, "labelled", True, id="stderr none"),
        pytest.param("os.environ['PATH'] = '/nowhere'\n" + CRASHES, [], None, "bare", False, id="no shell"),
        pytest.param("faulthandler.enable()\n" + CRASHES, [], None, "bare", False, id="somebody's own"),
        pytest.param(
            "stacks.enable(replace=True)\n" + CRASHES,
            ["-X", "faulthandler"],
            None,
            "labelled",
            True,
            id="the interpreter's option",
        ),
        pytest.param("stacks.push_target(me, ranks)()\ncrash()", [], None, "bare", False, id="ended"),
        pytest.param(
            "end = stacks.push_target(me, ranks + '/..')\nstacks.keep(me, ranks)\nend()\ncrash()",
            [],
            None,
            "labelled",
            True,
            id="two at once, one has ended",
        ),
        pytest.param(
            "stacks.push_target(me, ranks)\nstacks.keep(me)()\ncrash()",
            [],
            None,
            "labelled",
            True,
            id="two at once, the newer has ended",
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
def test_they_come_as_far_as_there_is_a_way(code, flags, script, on_stderr, in_file, tmp_path):
    status, said, files = ended(tmp_path, code, *flags, script=script or 'exec "$0" "$@"')
    assert status == -signal.SIGSEGV
    for text, labelled in ((said, on_stderr == "labelled"), *((text, True) for text in files.values())):
        assert (
            not on_stderr
            and text is said
            or re.search(r"^Fatal Python error: Segmentation fault$(.|\n)* in crash$", text, re.M)
        ), text
        assert bool(re.match(HEAD, text)) == labelled, text
    assert [*files] == ["0.stacks"] * in_file


def test_a_handler_of_another_language_is_left_alone(tmp_path):
    code = (
        "ended = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: os._exit(7))\nctypes.CDLL(None).signal(signal.SIGSEGV, ended)\n"
        + CRASHES
    )
    assert ended(tmp_path, code) == (7, "", {})


@pytest.mark.parametrize(
    "code",
    [
        "stacks.enable()",
        "stacks.push_target(me, ranks)",
        "stacks.push_target(me, ranks)()\nassert subprocess.run(['pgrep', '-P', str(os.getpid()), 'sh']).returncode == 1",
    ],
)
def test_a_good_end_leaves_neither_a_file_nor_a_process_nor_a_word(code, tmp_path):
    assert ended(tmp_path, code, "-W", "error") == (0, "", {})


def test_a_process_that_is_killed_leaves_no_file(tmp_path):
    assert ended(tmp_path, "stacks.push_target(me, ranks)\nos.kill(os.getpid(), signal.SIGKILL)") == (
        -signal.SIGKILL,
        "",
        {},
    )


def test_stacks_of_an_earlier_process_stay_until_there_are_newer_ones_and_a_copy_of_the_folder_stays_what_it_is(
    tmp_path,
):
    (tmp_path / "ranks").mkdir()
    for name in ("ranks/0.stacks", "ranks/1.stacks"):
        (tmp_path / name).write_text("older\n")
    os.link(tmp_path / "ranks/0.stacks", tmp_path / "copy")
    assert ended(tmp_path, "stacks.push_target(me, ranks)")[2] == {"0.stacks": "older\n", "1.stacks": "older\n"}
    files = ended(tmp_path, CRASHES)[2]
    assert re.match(HEAD, files["0.stacks"]) and files["1.stacks"] == (tmp_path / "copy").read_text() == "older\n"


def test_a_folder_that_is_gone_is_not_made_again(tmp_path):
    code = f"me.rank = 3\nstacks.push_target(me, {str(tmp_path / 'gone' / 'ranks')!r})\ncrash()"
    assert re.search(" in crash\n", ended(tmp_path, code)[1])
    assert not (tmp_path / "gone").exists()


def test_signals_to_the_job_leave_them_a_way(tmp_path):
    code = """stacks.push_target(me, ranks)
pid = stacks.shell.process.pid
while not int(open(f"/proc/{pid}/status").read().partition("SigIgn:")[2].split()[0], 16) >> signal.SIGTERM - 1 & 1:
    pass  # it has only just been started
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
    os.kill(pid, number)
crash()"""
    assert re.search(" in crash\n", ended(tmp_path, code)[2]["0.stacks"])


def test_a_pipe_that_nobody_reads_does_not_keep_them_from_the_file(tmp_path):
    fill = "os.set_blocking(2, False)\ntry:\n    while True: os.write(2, b'x' * 1024)\nexcept BlockingIOError: os.set_blocking(2, True)\n"
    reading, writing = os.pipe()
    code = PRELUDE + "".join(
        f"    {line}\n"
        for line in (fill + "stacks.push_target(me, ranks)\nprint(end='', flush=True)\ncrash()").splitlines()
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stderr=writing, env=jobs.support_path(), cwd=jobs.ROOT
    )
    os.close(writing)
    try:
        assert process.wait(30) == -signal.SIGSEGV
        deadline = time.monotonic() + 10
        while "Extension modules" not in "".join(path.read_text() for path in tmp_path.glob("ranks/*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.close(reading)
    jobs.wait_gone(tmp_path)


def test_a_signal_without_a_name_is_its_number():
    assert (signal_name(11), signal_name(signal.SIGRTMIN + 3)) == ("SIGSEGV", str(signal.SIGRTMIN + 3))
