"""The records of heartbeats on disk, and how a file system that hangs affects them."""

import json

from stub_ranks import StubRanks

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
