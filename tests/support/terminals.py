"""Terminals without anybody before them: what is written on one, and what would be seen there."""

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import termios
import threading

CONTROL = re.compile(r"\x1b\[\??(\d*)([A-Za-z])|(\r)|(\n)")


def opened(columns=100, lines=30):
    """(our end, the other) of a new terminal of that size."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (lines, columns))
    return ours, theirs


def read(descriptor):
    """All that is written on a terminal until its other end is closed, as text."""
    parts = []
    with contextlib.suppress(OSError):  # which is how the end shows
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
    return b"".join(parts).decode()


def seen(text):
    """The lines on the screen after a text with moves up, erasures and colours has been written on it."""
    lines, y, x = [""], 0, 0
    for part in re.split(r"(\x1b\[\??\d*[A-Za-z]|\r|\n)", text):
        control = CONTROL.fullmatch(part)
        if control is None:
            lines[y] = lines[y][:x].ljust(x) + part + lines[y][x + len(part) :]
            x += len(part)
        elif control[3]:
            x = 0
        elif control[4]:
            y += 1
            lines += [""] * (y == len(lines))
        elif control[2] == "A":
            y = max(0, y - int(control[1] or 1))
        elif control[2] == "K":
            lines[y] = ""
    return [line.rstrip() for line in lines]


class Terminal:
    """A command that runs on a terminal of its own, in its foreground.

    Args:
        words: the command.
        kwargs: for `subprocess.Popen`; "stdout" makes it another than the terminal.
    """

    def __init__(self, words, **kwargs):
        def become_its_own():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # which is ignored where the tests run in the background

        self.ours, theirs = opened()
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs} | kwargs
        streams["env"] = streams.get("env", os.environ) | {"TERM": "xterm"}
        self.process = subprocess.Popen(words, start_new_session=True, preexec_fn=become_its_own, **streams)
        os.close(theirs)
        self.text = ""
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        self.text = read(self.ours)

    def type(self, keys):
        """Press keys; "\\x03" is Ctrl-C."""
        os.write(self.ours, keys.encode())

    def end(self, timeout):
        """The exit status of the command when it has ended; one that does not is killed."""
        try:
            return self.process.wait(timeout)
        finally:
            self.process.kill()
            self.reader.join(timeout)
            os.close(self.ours)
