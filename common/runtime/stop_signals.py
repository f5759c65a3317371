"""Signals that stop a run: the first one asks it to finish, a later one ends it immediately."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from common.errors import SIGNAL_DEBOUNCE_SECONDS


def not_ignored(numbers: Iterable[int]) -> list[int]:
    """Return the signals that this process does not ignore, as nohup makes it ignore SIGHUP."""
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


class StopSignals:
    """Handles stop signals while it is installed; also a context manager.

    A signal that arrives within `SIGNAL_DEBOUNCE_SECONDS` of the last one belongs to the same request and is dropped.

    Args:
        numbers: the signals.
        on_first: function (signal number), called by the first signal.
        on_repeat: function (signal number), called by each later one.

    Attributes:
        received: the signals so far, in order.
    """

    def __init__(
        self,
        numbers: Iterable[int],
        on_first: Callable[[int], None] = lambda number: None,
        on_repeat: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.numbers = list(numbers)
        self.on_first = on_first
        self.on_repeat = on_repeat
        self.received: list[int] = []
        self._last_time = -math.inf
        self._previous_handlers: dict[int, Any] = {}

    def install(self) -> None:
        """Replace the handlers of the signals."""
        self._previous_handlers = {number: signal.signal(number, self.handle) for number in self.numbers}

    def restore(self) -> None:
        """Set the handlers that `install` has replaced."""
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        self._previous_handlers = {}

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        now = time.monotonic()
        if now - self._last_time <= SIGNAL_DEBOUNCE_SECONDS:
            return
        self._last_time = now
        self.received.append(number)
        (self.on_first if len(self.received) == 1 else self.on_repeat)(number)

    def __enter__(self) -> StopSignals:
        self.install()
        return self

    def __exit__(self, *exception: object) -> None:
        self.restore()


def raise_keyboard_interrupt(number: int) -> None:
    """Raise KeyboardInterrupt; an `on_repeat` that ends the process immediately."""
    raise KeyboardInterrupt
