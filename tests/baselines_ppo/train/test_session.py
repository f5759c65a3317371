"""A session closes what a run has open, however it ends, and cleanup that hangs cannot block the end."""

import threading

import pytest

from baselines_ppo.train.session import TrainingSession
from common.distributed import heartbeat, watchdog
from common.distributed.communicator import Communicator
from common.storage.failure_file import FAILURE_FILE_VARIABLE, read_failure_reason


class RecordingCommunicator(Communicator):
    """One rank that records the watchdog's abort: its reason, its status, and an event."""

    def __init__(self):
        super().__init__(None)
        self.reason = None
        self.status = None
        self.aborted = threading.Event()

    def report_and_abort(self, reason, status=1, immediately=False):
        self.reason = reason
        self.status = status
        self.aborted.set()


@pytest.fixture
def session(monkeypatch):
    for module in (watchdog, heartbeat):
        monkeypatch.setattr(module, "POLL_INTERVAL", 0.02)
    monkeypatch.setattr(watchdog, "CLEANUP_TIMEOUT", 0.2)
    session = TrainingSession(RecordingCommunicator(), stall_timeout=0.2)
    yield session
    session.end()


def test_failure_is_printed_before_cleanup_and_cleanup_that_hangs_is_aborted(session, capfd):
    printed_at_cleanup = []

    def hang():
        printed_at_cleanup.append(capfd.readouterr().err)
        assert session.comm.aborted.wait(20)

    session.exit_stack.callback(hang)
    session.heartbeat.set_phase("collect", 7)
    assert session.fail("it\nbroke", 130, trace="Traceback: here\n") == 130
    assert printed_at_cleanup == ["Traceback: here\nrun.py: error: it broke\n"]
    reason = session.comm.reason
    assert reason.startswith("failed in collect, and cleaning up has not ended after 0 s, at ")
    assert reason.endswith(" in wait()")
    assert session.comm.status == 130
    assert session.heartbeat.current_phase == ("failed in collect", 7)


@pytest.mark.parametrize("path", ["failure.json", "missing/failure.json"], ids=["writable", "unwritable"])
def test_failure_is_recorded_for_the_program_that_asked_for_it(path, session, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv(FAILURE_FILE_VARIABLE, str(tmp_path / path))
    assert session.fail("it broke", 1, trace="Traceback: here\n") == 1
    assert capfd.readouterr().err == "Traceback: here\nrun.py: error: it broke\n"
    expected = "run.py: error: it broke" if path == "failure.json" else None
    assert read_failure_reason(tmp_path / path) == expected


@pytest.mark.parametrize("error", [OSError("the disk is full"), KeyboardInterrupt()])
def test_everything_is_closed_in_reverse_order_although_the_logger_and_one_callback_fail(error, session, capfd):
    closed = []

    def fail():
        raise error

    class FailingLogger:
        def close(self):
            closed.append("logger")
            fail()

    session.attach_logger(FailingLogger())
    for name in ("first", "second"):
        session.exit_stack.callback(closed.append, name)
    session.exit_stack.callback(fail)
    assert session.fail("it broke", 1) == 1
    assert closed == ["logger", "second", "first"]
    assert capfd.readouterr().err == "run.py: error: it broke\n"
    assert session.heartbeat.ended.is_set()
    assert session.comm.reason is None


def test_successful_run_whose_cleanup_hangs_is_aborted(session):
    session.exit_stack.callback(lambda: session.comm.aborted.wait(20))
    session.close()
    assert session.comm.reason.startswith("no progress for 0 s in closing, ")
    assert session.comm.reason.endswith(" the policy is saved")
    assert session.comm.status == 1
