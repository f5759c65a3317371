"""Finds how much memory this process may use, and checks requests against it.

A container's limit (Linux control groups, versions 1 and 2) counts as well as the machine's memory and the process's
own limit. The request is compared with the limit, not with the memory that happens to be free now.
"""

import contextlib
import os
from pathlib import Path

from common.errors import UserError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

UNLIMITED = 1 << 60  # bytes; version 1 writes "no limit" as a huge number
CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_MEMBERSHIP = Path("/proc/self/cgroup")


def check_memory(size: float, purpose: str) -> None:
    """Raise UserError if `size` bytes, needed by `purpose`, exceed the memory that this process may use."""
    limit = memory_limit()
    if limit is not None and size > limit:
        raise UserError(
            f"{purpose} needs {size / 1e9:,.0f} GB of memory, but at most {limit / 1e9:,.0f} GB are available; "
            "reduce it"
        )


def memory_limit() -> int | None:
    """Return the bytes of memory that this process may use; None if the system does not tell.

    The smallest of the machine's memory, the process's address space limit and the limits of its control groups.
    """
    limits = cgroup_limits()
    with contextlib.suppress(AttributeError, ValueError, OSError):  # no sysconf on Windows; other names on some Unixes
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    if resource is not None:
        address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
        if address_space != resource.RLIM_INFINITY:
            limits.append(address_space)
    return min(limits, default=None)


def cgroup_limits(root: Path | None = None, membership: Path | None = None) -> list[int]:
    """Return the memory limits, in bytes, of this process's control group and of those that contain it.

    Args:
        root: where control groups are mounted (default: `CGROUP_ROOT`).
        membership: the file that lists this process's groups (default: `CGROUP_MEMBERSHIP`).
    """
    root = CGROUP_ROOT if root is None else root
    try:
        lines = (CGROUP_MEMBERSHIP if membership is None else membership).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # not Linux, or not mounted
        return []
    limits = []
    for line in lines:
        _, _, entry = line.partition(":")
        controllers, _, group = entry.partition(":")
        if not controllers:  # version 2: one hierarchy for all controllers
            base, file_name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, file_name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        # inside a container the path may be the host's, and only the mount's root exists: missing files are skipped
        path = Path(group.lstrip("/"))
        for directory in (path, *path.parents):
            with contextlib.suppress(OSError, ValueError):  # ValueError: "max", which means no limit
                limits.append(int((base / directory / file_name).read_text(encoding="ascii")))
    return [limit for limit in limits if limit < UNLIMITED]
