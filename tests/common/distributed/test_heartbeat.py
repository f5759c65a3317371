"""The watch over ranks: what it counts as a stall, where it says that one stands, and what cannot keep it from looking."""

import json
import os
import sys
import threading
from types import SimpleNamespace

import pytest

from common.distributed import heartbeat as heartbeats
from common.distributed import watchdog
from common.distributed.heartbeat import Heartbeat, read_heartbeats
from common.distributed.watchdog import Watchdog
from common.hints import NOT_BEGUN, STALLED


class Ranks:
    """A communicator of which only what a heartbeat sees is there; `said` is why the job was ended."""

    def __init__(self, size=1, waiting=False):
        self.rank, self.size, self.waiting, self.collective_count = 0, size, waiting, 0
        self.said, self.ended = None, threading.Event()

    def abort(self, reason, status, at_once):
        self.said = reason
        self.ended.set()


def looks_until_it_ends(beat, most=1000):
    """How many looks at a rank on which nothing moves it takes until the watch ends the job; None if it never does."""
    one = Watchdog(beat)
    return next((count for count in range(most) if one.look() or beat.comm.said), None)


@pytest.mark.parametrize(
    "timeout, phase, looks",
    [
        (10, "collect", 10),
        (0, "collect", None),
        (10, "start", watchdog.STARTUP_TIMEOUT),
        (10, "compile", watchdog.COMPILE_TIMEOUT),
        (500, "start", 500),
        (500, "failed in collect", watchdog.CLEANUP_TIMEOUT),
        (0, "failed in update", watchdog.CLEANUP_TIMEOUT),
    ],
)
def test_how_long_nothing_may_move_depends_on_what_a_rank_does(timeout, phase, looks):
    beat = Heartbeat(Ranks(), timeout=timeout)
    beat.phase(phase)
    if phase.startswith("failed"):
        beat.fail(2)
    assert looks_until_it_ends(beat) == looks


@pytest.mark.parametrize("waiting", [False, True])
def test_a_rank_has_the_time_of_a_start_for_itself_and_for_others_whose_records_it_cannot_see_yet(waiting):
    beat = Heartbeat(Ranks(2, waiting), timeout=3)
    assert looks_until_it_ends(beat) == watchdog.STARTUP_TIMEOUT + (watchdog.GRACE if waiting else 0)
    assert beat.comm.said.endswith(f"; {NOT_BEGUN}") and "checkpoint" not in beat.comm.said
    beat = Heartbeat(Ranks(2, waiting), timeout=3)
    beat.phase("update", 1)
    assert looks_until_it_ends(beat) == 3 + (watchdog.GRACE if waiting else 0) and beat.comm.said.endswith(
        f"; {STALLED}"
    )


def test_a_rank_that_waits_names_those_that_work_and_stand_still_and_soon_those_that_have_failed():
    for phase, patience in (("collect", 20), ("failed in collect", watchdog.CLEANUP_TIMEOUT)):
        beat = Heartbeat(Ranks(3, waiting=True), timeout=20)
        beat.phase("update")
        beat.everyone = {
            rank: beat.record() | {"rank": rank, "phase": phase, "waiting": rank < 2} for rank in range(4)
        }  # the fourth of another run
        assert looks_until_it_ends(beat) == patience + watchdog.GRACE
        assert (
            f"for other ranks: rank 2 on host {beat.host}: {phase}, iteration 0" in beat.comm.said
            and "rank 3" not in beat.comm.said
        )


def test_a_file_system_that_hangs_does_not_hold_up_the_watch(tmp_path, monkeypatch):
    mended = threading.Event()
    for module in (watchdog, heartbeats):
        monkeypatch.setattr(module, "POLL_INTERVAL", 0.02)
    beat = Heartbeat(Ranks(), tmp_path, timeout=0.1)
    beat.phase("checkpoint")
    monkeypatch.setattr(os, "pwrite", lambda *args: mended.wait())
    monkeypatch.setattr(heartbeats, "read_heartbeats", lambda folder: mended.wait())
    beat.start()
    assert beat.comm.ended.wait(10)
    assert "no progress for" in beat.comm.said
    mended.set()
    beat.close()


def test_a_watch_that_cannot_go_on_says_so(monkeypatch, capfd):
    monkeypatch.setattr(watchdog, "POLL_INTERVAL", 0.01)
    beat = Heartbeat(Ranks(), timeout=5)
    monkeypatch.setattr(beat, "record", lambda: {})
    beat.start().watch.thread.join(10)
    assert f"rank 0 on host {beat.host}: the watch over stalls has ended: KeyError: 'phase'" in capfd.readouterr().err


def test_records_that_are_none_are_left_out(tmp_path):
    Heartbeat(Ranks(), tmp_path)
    for rank, text in enumerate(
        ["[]", "{}", "7", "{", json.dumps({name: [] for name in Heartbeat(Ranks()).record()})], 1
    ):
        (tmp_path / f"{rank}.json").write_text(text)
    assert list(read_heartbeats(tmp_path)) == [0]


def test_the_place_is_what_the_innermost_function_waits_for():
    def outer():
        _waits_for = SimpleNamespace(where=lambda: "in the outer")
        return inner()

    def inner():
        _waits_for = SimpleNamespace(where=lambda: "in the inner")
        return sys._getframe()

    assert watchdog.place_of(outer()) == "in the inner"
    assert watchdog.place_of(sys._getframe()).startswith(f"at {__file__}:")
