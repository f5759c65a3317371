"""The launcher's terminal is found by the rank that it passes on, and only then; what others write on it stays."""
import sys

import jobs
import pytest
from terminals import Terminal, seen

from common.screen import BARS

FIND = "from common.launcher import launchers_terminal; open(sys.argv[1], 'w').write(str(launchers_terminal() is not None))"
PLAIN = [sys.executable, "-c", f"import sys; {FIND}"]
DRAW = """
import os, pathlib, sys, time
from common.screen import screen
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
    """The words that run a shell's script, in which "$@" is the command."""
    return ["sh", "-c", script, "sh"]


@pytest.mark.parametrize("before, found", [
    ([jobs.mpirun(), "-n", "1"], True),
    ([*shell('"$0" -n 1 "$@"')[:-1], jobs.mpirun()], True),
    ([jobs.mpirun(), "-n", "1", "-prepend-rank"], False),  # what it labels is wanted with labels
    ([*shell('"$0" -n 1 "$@" > /dev/null')[:-1], jobs.mpirun()], False),
    ([*shell('"$0" -n 1 "$@" | cat')[:-1], jobs.mpirun()], False),
    ([jobs.mpirun(), "-n", "1", *shell('"$@" | cat')], False),
    ([jobs.mpirun(), "-n", "1", *shell('("$@"; true) | cat')], False),
    (["setsid", "--wait", jobs.mpirun(), "-n", "1"], False),  # not in the foreground
    (shell('"$@" | cat'), False),
])
def test_a_terminal_is_found_where_the_launcher_passes_on_to_it(before, found, tmp_path):
    status, _ = on_a_terminal([*before, *PLAIN, str(tmp_path / "found")])
    assert status == 0
    assert (tmp_path / "found").read_text() == str(found)


def test_the_view_is_drawn_on_the_launchers_terminal_and_what_others_write_stays(tmp_path):
    status, lines = on_a_terminal(jobs.command(2, "-c", DRAW, tmp_path / "drawn"))
    assert status == 0
    view = ["━" * 30 + "╺" + "━" * 29 + "  50%", "4,096  0:00:00, -:--:-- left", "return", "12.5", BARS[0]]
    assert lines == ["of rank 0", *view, "one of", "rank 1's own", *view, "a note", "the end", ""]
