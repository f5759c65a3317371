"""The CPU cores that this process may use."""

import os


def cpu_affinity() -> list[int]:
    """Return the numbers of the cores that this process may run on, in order."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def usable_cpu_count() -> int:
    """Return how many cores this process may run on."""
    return len(cpu_affinity())
