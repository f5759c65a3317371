"""The records of heartbeats on disk, and how a file system that hangs affects them."""

import json
import os
import threading

from stub_ranks import StubRanks

from common.distributed import heartbeat as heartbeats
from common.distributed.heartbeat import Heartbeat, read_heartbeats


def test_files_that_are_not_records_are_ignored(tmp_path):
    Heartbeat(StubRanks(), tmp_path)
    wrong_types = json.dumps({name: [] for name in Heartbeat(StubRanks()).record()})
    for rank, text in enumerate(["[]", "{}", "7", "{", wrong_types], 1):
        (tmp_path / f"{rank}.json").write_text(text)
    assert list(read_heartbeats(tmp_path)) == [0]


def test_a_record_has_the_fields_that_readers_of_older_versions_expect(tmp_path):
    heartbeat = Heartbeat(StubRanks(), tmp_path)
    heartbeat.set_phase("collect", 3)
    heartbeat.close()
    record = read_heartbeats(tmp_path)[0]
    assert list(record) == [
        "rank",
        "host",
        "pid",
        "phase",
        "iteration",
        "step",
        "collectives",
        "waiting",
        "since",
        "written",
    ]
    assert (record["phase"], record["iteration"]) == ("ended", 3)


def test_a_failure_names_the_phase_in_which_it_happened():
    heartbeat = Heartbeat(StubRanks())
    heartbeat.set_phase("update", 2)
    heartbeat.mark_failed(1, "message")
    heartbeat.mark_failed(1)
    assert heartbeat.current_phase == ("failed in update", 2)
    assert heartbeat.failure == (1, None)


def test_the_descriptor_that_a_hanging_writer_uses_is_not_closed(tmp_path, monkeypatch):
    # otherwise its record could be written into the file that has the descriptor by then
    monkeypatch.setattr(heartbeats, "POLL_INTERVAL", 0.02)
    heartbeat, hangs, goes_on = Heartbeat(StubRanks(), tmp_path), threading.Event(), threading.Event()

    def write_over(descriptor, text):
        hangs.set()
        goes_on.wait(20)

    monkeypatch.setattr(heartbeats.os_features, "write_over", write_over)
    heartbeat.start()
    assert hangs.wait(20)
    heartbeat.close()
    descriptor = heartbeat._file
    os.fstat(descriptor)  # it is open
    goes_on.set()
    heartbeat._writer.join(20)
    os.close(descriptor)


def test_a_writer_that_waited_while_the_file_was_closed_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeats, "POLL_INTERVAL", 20.0)
    heartbeat, written = Heartbeat(StubRanks(), tmp_path), []
    monkeypatch.setattr(heartbeats.os_features, "write_over", lambda *args: written.append(args))
    with heartbeat._lock:
        writer = threading.Thread(target=heartbeat.write)
        writer.start()
        writer.join(0.2)  # it waits for the lock
        os.close(heartbeat._file)
        heartbeat._file = None
    writer.join(20)
    assert written == [] and not writer.is_alive()
