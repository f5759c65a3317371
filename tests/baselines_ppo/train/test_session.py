"""What a run has open is closed at its end, whatever that is, and cannot hold up the end: neither of a failure nor of a run that ended well."""

import threading

import pytest

from baselines_ppo.train.session import Job
from common.distributed import heartbeat, watchdog
from common.distributed.communicator import Communicator


class Ends(Communicator):
    """One rank of which the watch's last words are kept, and whose end is an event."""

    def __init__(self):
        super().__init__(None)
        self.words, self.status, self.over = None, None, threading.Event()

    def report_and_abort(self, reason, status=1, immediately=False):
        self.words, self.status = reason, status
        self.over.set()


@pytest.fixture
def job(monkeypatch):
    for module in (watchdog, heartbeat):
        monkeypatch.setattr(module, "POLL_INTERVAL", 0.02)
    monkeypatch.setattr(watchdog, "CLEANUP_TIMEOUT", 0.2)
    made = Job(Ends(), stall_timeout=0.2)
    yield made
    made.end()


def test_a_failure_is_told_before_anything_is_closed_and_what_hangs_there_is_ended_with_its_status(job, capfd):
    at_close = []

    def close():
        at_close.append(capfd.readouterr().err)
        assert job.comm.over.wait(20)

    job.opened.callback(close)
    job.heartbeat.set_phase("collect", 7)
    assert job.fail("it\nbroke", 130, trace="Traceback: here\n") == 130
    assert at_close == ["Traceback: here\nrun.py: error: it broke\n"]
    assert job.comm.words.startswith(
        "failed in collect, and cleaning up has not ended after 0 s, at "
    ) and job.comm.words.endswith(" in wait()")
    assert job.comm.status == 130 and job.heartbeat.current_phase == ("failed in collect", 7)


@pytest.mark.parametrize("error", [OSError("the disk is full"), KeyboardInterrupt()])
def test_what_is_open_is_closed_last_first_though_the_logger_and_one_of_it_fail(error, job, capfd):
    closed = []

    def fail():
        raise error

    class Logger:
        def close(self):
            closed.append("logger")
            fail()

    job.attach_logger(Logger())
    for name in ("first", "second"):
        job.opened.callback(closed.append, name)
    job.opened.callback(fail)
    assert job.fail("it broke", 1) == 1
    assert closed == ["logger", "second", "first"] and capfd.readouterr().err == "run.py: error: it broke\n"
    assert job.heartbeat.ended.is_set() and job.comm.words is None


def test_a_run_that_ended_well_is_not_held_up_by_what_does_not_close(job):
    job.opened.callback(lambda: job.comm.over.wait(20))
    job.close()
    assert (
        job.comm.words.startswith("no progress for 0 s in closing, ")
        and job.comm.words.endswith(" the policy is saved")
        and job.comm.status == 1
    )
