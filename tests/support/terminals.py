"""Pseudo-terminals: runs commands on them and renders their output."""

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
    """Return (our end, the command's end) of a new terminal of that size."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (lines, columns))
    return ours, theirs


def read(descriptor):
    """Return all that is written on a terminal until its other end is closed."""
    parts = []
    with contextlib.suppress(OSError):  # raised at the end
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
    return b"".join(parts).decode()


def seen(text):
    """Return the visible lines after text with cursor movements, erasures and colours has been written."""
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
    """A command that runs in the foreground of a new terminal.

    Args:
        argv: the command.
        kwargs: arguments of `subprocess.Popen`; `stdout` replaces the terminal.
    """

    def __init__(self, argv, **kwargs):
        def become_foreground():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored if the tests run in the background

        self.ours, theirs = opened()
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs} | kwargs
        streams["env"] = streams.get("env", os.environ) | {"TERM": "xterm"}
        self.process = subprocess.Popen(argv, start_new_session=True, preexec_fn=become_foreground, **streams)
        os.close(theirs)
        self.text = ""
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        self.text = read(self.ours)

    def type(self, keys):
        """Send keys; "\\x03" is Ctrl-C."""
        os.write(self.ours, keys.encode())

    def end(self, timeout):
        """Wait for the command and return its exit status; kill it after `timeout` seconds."""
        try:
            return self.process.wait(timeout)
        finally:
            self.process.kill()
            self.reader.join(timeout)
            os.close(self.ours)
