"""The memory limit is the smallest of the machine's memory and the limits of the process and its control groups."""

import pytest

from common.errors import UserError
from common.runtime import memory


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """Function (lines of /proc/self/cgroup, {path below the mount: content}) that simulates control groups."""

    def simulate(membership, files):
        (tmp_path / "membership").write_text(membership)
        for name, content in files.items():
            (tmp_path / "mount" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "mount" / name).write_text(content)
        monkeypatch.setattr(memory, "CGROUP_ROOT", tmp_path / "mount")
        monkeypatch.setattr(memory, "CGROUP_MEMBERSHIP", tmp_path / "membership")

    return simulate


VERSION_1 = "5:memory:/docker/abc\n1:cpu:/docker/abc\n"


@pytest.mark.parametrize(
    "membership, files, limit",
    [
        ("0::/\n", {"memory.max": "1000000\n"}, 10**6),
        ("0::/job/step\n", {"job/step/memory.max": "max\n", "job/memory.max": "2000000\n"}, 2 * 10**6),
        ("0::/job\n", {"job/memory.max": "3000000\n", "memory.max": "5000000\n"}, 3 * 10**6),
        ("0::/not/mounted/here\n", {"memory.max": "4000000\n"}, 4 * 10**6),
        (VERSION_1, {"memory/docker/abc/memory.limit_in_bytes": "6000000\n"}, 6 * 10**6),
        (VERSION_1, {"memory/memory.limit_in_bytes": "7000000\n", "memory.max": "1\n"}, 7 * 10**6),
    ],
    ids=["v2", "v2 parent", "v2 both", "v2 inside a container", "v1", "v1 inside a container"],
)
def test_the_limit_of_a_control_group_is_respected(membership, files, limit, cgroup):
    cgroup(membership, files)
    assert memory.memory_limit() == limit
    memory.check_memory(limit, "a segment")
    with pytest.raises(UserError, match="^a segment needs 1 GB of memory, but at most 0 GB are available; reduce it$"):
        memory.check_memory(10**9, "a segment")


@pytest.mark.parametrize(
    "membership, files",
    [
        ("0::/\n", {}),
        ("0::/\n", {"memory.max": "max\n"}),
        (VERSION_1, {"memory/memory.limit_in_bytes": "9223372036854771712\n"}),
        ("", {}),
        ("garbage\n", {"memory.max": "garbage\n"}),
    ],
)
def test_without_a_limit_the_memory_is_the_machines(membership, files, cgroup):
    cgroup(membership, files)
    assert memory.memory_limit() > 2**30


def test_a_system_without_control_groups_has_the_machines_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "CGROUP_MEMBERSHIP", tmp_path / "missing")
    assert memory.cgroup_limits() == []
    assert memory.memory_limit() > 2**30
