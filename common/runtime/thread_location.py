"""Where a thread of this process currently is, for messages about stalls."""

import sys
from typing import Protocol


class Blocking(Protocol):
    """Something in another thread or process that a thread can be blocked on."""

    def describe_location(self) -> str:
        """Return where it currently is."""


# thread id -> what that thread is blocked on; set by functions that wait for another thread or process
blocked_on: dict[int, Blocking] = {}


def describe_location(thread_id: int | None) -> str:
    """Return where a thread is: "at FILE:LINE in FUNCTION()", or the location of what it is blocked on.

    Returns "" for a thread that has ended.
    """
    if thread_id is None:  # not started
        return ""
    blocking = blocked_on.get(thread_id)
    if blocking is not None:
        return blocking.describe_location()
    frame = sys._current_frames().get(thread_id)
    return f"at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}()" if frame else ""
