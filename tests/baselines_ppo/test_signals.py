"""Signals ask a run to stop; ignored ones do not; all are given back."""
import signal
import time
from types import SimpleNamespace

import pytest

from baselines_ppo.runner import install_signals, restore_signals

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_asks_for_a_stop_a_later_one_ends_at_once_and_handlers_are_given_back(number, monkeypatch):
    monkeypatch.setattr("baselines_ppo.runner.ONE_SIGNAL", 0.2)
    own = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which is ignored where the tests run under nohup
    asked, before = [], {one: signal.getsignal(one) for one in NUMBERS}
    running = {"handlers": install_signals(SimpleNamespace(request_stop=asked.append))}
    try:
        signal.raise_signal(number)
        signal.raise_signal(number)  # a shell's and the kernel's, of one terminal that is gone
        assert asked == [number]
        time.sleep(0.3)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    finally:
        restore_signals(running)
    assert {one: signal.getsignal(one) for one in NUMBERS} == before
    signal.signal(signal.SIGHUP, own)


def test_what_is_ignored_as_under_nohup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        restore_signals({"handlers": install_signals(SimpleNamespace(request_stop=pytest.fail))})
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
