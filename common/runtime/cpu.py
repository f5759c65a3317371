"""The CPU cores that this process may use, and the instructions that they have."""

import os
import re
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def cpu_affinity() -> list[int]:
    """Return the numbers of the cores that this process may run on, in order."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def usable_cpu_count() -> int:
    """Return how many cores this process may run on."""
    return len(cpu_affinity())


def cpu_flags() -> frozenset[str]:
    """Return the names of the processor's instruction sets, such as 'avx2', as Linux lists them; elsewhere none."""
    try:
        text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def cpu_model() -> str:
    """Return the processor's name and family, as Linux lists them; elsewhere ''."""
    try:
        text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    names = ("model name", "cpu family", "model", "stepping")
    found = [re.search(rf"^{name}\s*:(.*)$", text, re.MULTILINE) for name in names]
    return " ".join(one[1].strip() for one in found if one)
