"""Signals that stop a run of the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from common.runtime import os_features
from common.runtime.stop_signals import StopSignals, not_ignored, raise_keyboard_interrupt

if TYPE_CHECKING:
    from common.training.loop import TrainingLoop

STOPPING = "stopping: finishing the iteration and writing a checkpoint; repeat the signal to stop immediately"


def training_stop_signals(training: TrainingLoop, notify: Callable[[str], None] | None) -> StopSignals:
    """Return the handlers by which signals stop a training after its iteration, with a checkpoint.

    The signals are SIGINT, SIGTERM, SIGUSR1 (the warning of some schedulers) and SIGHUP (a closed terminal), unless
    nohup ignores it. A second signal raises KeyboardInterrupt.

    Args:
        training: the `TrainingLoop`.
        notify: prints a message for the first signal; None on ranks that print nothing.
    """

    def request_stop(number: int) -> None:
        training.request_stop(int(number))
        if notify is not None:
            notify(STOPPING)

    numbers = os_features.signals("SIGINT", "SIGTERM", "SIGUSR1") + not_ignored(os_features.signals("SIGHUP"))
    return StopSignals(numbers, request_stop, raise_keyboard_interrupt)
