"""Messages about stalls name the innermost line of Python, or the location of what a thread is blocked on."""

import threading
from types import SimpleNamespace

from common.runtime.thread_location import blocked_on, describe_location


def test_a_thread_is_where_its_innermost_function_is():
    assert describe_location(threading.get_ident()).startswith("at ")
    assert describe_location(threading.get_ident()).endswith(" in describe_location()")


def test_a_blocked_thread_is_where_the_thing_is_that_it_waits_for(monkeypatch):
    waits_for = SimpleNamespace(describe_location=lambda: "in a process")
    monkeypatch.setitem(blocked_on, threading.get_ident(), waits_for)
    assert describe_location(threading.get_ident()) == "in a process"


def test_a_thread_that_has_ended_has_no_location():
    assert describe_location(0) == ""
