"""The launcher's terminal is found by the rank that it passes on, and only then; what others write on it stays."""

import re
import sys

import jobs
import pytest
from terminals import Terminal, seen

from common.loggers.live_display import BARS

FIND = [
    sys.executable,
    "-c",
    """
import sys
from common.loggers.mpirun_terminal import launchers_terminal
passed_on, terminal = launchers_terminal()
found = "drawn on" if terminal and terminal.takes_errors else "drawn on without errors" if terminal else "passed on" if passed_on else "its own"
open(sys.argv[1], "w").write(found)
""",
]
READ_BY_ANOTHER = [
    sys.executable,
    "-c",
    "import subprocess, sys; print(subprocess.run(sys.argv[1:], stdout=subprocess.PIPE).stdout)",
]
# as Open MPI's, which gives ranks terminals
WITH_TERMINALS = f"""#!{sys.executable}
import os, subprocess, sys
ours, theirs = os.openpty()
child = subprocess.Popen(sys.argv[1:], stdout=theirs)
os.close(theirs)
try:
    while part := os.read(ours, 4096):
        os.write(1, part)
except OSError:
    sys.exit(child.wait())
"""
DRAW = """
import functools, os, pathlib, rich.live, sys, time
from common.loggers.live_display import screen
rich.live.Live = functools.partial(rich.live.Live, auto_refresh=False)  # a view that is redrawn sees what others wrote before it is asked for below
drawn = pathlib.Path(sys.argv[1])
if os.environ["PMI_RANK"] == "1":
    while not drawn.exists():
        time.sleep(0.01)
    print("one of\\nrank 1's own", flush=True)
else:
    view = screen(lambda: 0.5)
    view.write({"EpRewMean": 12.5}, 4096)
    view.live.refresh()
    print("of rank 0")
    drawn.touch()
    while not view.launcher.others_wrote():
        time.sleep(0.01)
    view.launcher.written = None  # it is to see that for itself
    view.say("a note")
    view.close()
    print("the end")
"""


def on_a_terminal(words, timeout=30, **kwargs):
    """(status, what is seen on it in the end)."""
    terminal = Terminal(words, cwd=jobs.ROOT, **kwargs)
    status = terminal.end(timeout)
    return status, seen(terminal.text)


def shell(script):
    """The words that run a shell's script, in which "$0" "$@" is the command that follows them."""
    return ["sh", "-c", script]


@pytest.mark.parametrize(
    "before, found",
    [
        ([jobs.mpirun(), "-n", "1"], "drawn on"),
        ([*shell('"$0" -n 1 "$@"'), jobs.mpirun()], "drawn on"),
        ([*shell('"$0" -n 1 "$@" 2> /dev/null'), jobs.mpirun()], "drawn on without errors"),
        (
            [*shell('stty tostop; "$0" -n 1 "$@"'), jobs.mpirun()],
            "passed on",
        ),  # which would stop a rank that writes there
        ([jobs.mpirun(), "-n", "1", "-prepend-rank"], "passed on"),  # what it labels is wanted with labels
        ([*shell('"$0" -n 1 "$@" > /dev/null'), jobs.mpirun()], "passed on"),
        ([*shell('"$0" -n 1 "$@" | cat'), jobs.mpirun()], "passed on"),
        (["setsid", "--wait", jobs.mpirun(), "-n", "1"], "passed on"),  # not in the foreground
        ([jobs.mpirun(), "-n", "1", *shell('"$0" "$@" | cat')], "its own"),
        ([jobs.mpirun(), "-n", "1", *shell('("$0" "$@"; true) | cat')], "its own"),
        ([jobs.mpirun(), "-n", "1", *READ_BY_ANOTHER], "its own"),
        (shell('"$0" "$@" | cat'), "its own"),
        ([], "its own"),
    ],
)
def test_a_terminal_is_drawn_on_where_the_launcher_passes_on_to_it(before, found, tmp_path):
    status, _ = on_a_terminal([*before, *FIND, str(tmp_path / "found")])
    assert status == 0
    assert (tmp_path / "found").read_text() == found


@pytest.mark.parametrize("before, found", [([], "drawn on"), (shell('"$0" "$@" > /dev/null'), "passed on")])
def test_a_launcher_that_gives_ranks_terminals_is_drawn_on_where_it_has_one(before, found, tmp_path):
    (tmp_path / "mpirun").write_text(WITH_TERMINALS)
    (tmp_path / "mpirun").chmod(0o700)
    status, _ = on_a_terminal([*before, str(tmp_path / "mpirun"), *FIND, str(tmp_path / "found")])
    assert status == 0
    assert (tmp_path / "found").read_text() == found


def test_the_view_is_drawn_on_the_launchers_terminal_and_what_others_write_stays(tmp_path):
    status, lines = on_a_terminal(jobs.command(2, "-c", DRAW, tmp_path / "drawn"))
    assert status == 0
    view = ["━" * 30 + "╺" + "━" * 29 + "  50%", "4,096  CLOCK, -:--:-- left", "return", "12.5", BARS[0]]
    assert [re.sub(r"\d:\d\d:\d\d", "CLOCK", line) for line in lines] == [
        "of rank 0",
        *view,
        "one of",
        "rank 1's own",
        *view,
        "a note",
        "the end",
        "",
    ]
