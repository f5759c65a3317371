"""The cache of compiled functions: where it is, what is left in it, and that a training with it gives the same result."""

import os
import shutil
import time
from types import SimpleNamespace

import jobs
import pytest

from common.runtime import compilation_cache as cache


@pytest.fixture(autouse=True)
def parent(tmp_path, monkeypatch):
    """The folder of this test's caches."""
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "caches"))
    monkeypatch.delenv(cache.FLAGS_VARIABLE, raising=False)
    monkeypatch.setattr(cache, "_folder", None)
    return tmp_path / "caches"


def add_entry(folder, name, data=b"code", age=0.0, sealed=True):
    entry = folder / f"{name}.pb"
    entry.write_bytes(data)
    if sealed:
        entry.with_suffix(".sha256").write_text(cache._digest(entry))
    for path in (entry, entry.with_suffix(".sha256")):
        if path.exists():
            os.utime(path, (time.time() - age,) * 2)
    return entry


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_tensorflow_gets_a_private_folder_for_this_processor(parent, monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_clustering_debug")
    folder = cache.enable()
    assert folder.parent == parent and folder.stat().st_mode & 0o777 == 0o700 and names(folder) == []
    flags = os.environ["TF_XLA_FLAGS"].split()
    assert flags[0] == "--tf_xla_clustering_debug"
    assert flags[1:] == [
        f"--tf_xla_persistent_cache_directory={folder}",
        "--tf_xla_persistent_cache_device_types=CPU",
    ]


@pytest.mark.parametrize("change", ["flags", "model", "version", "XLA_FLAGS", "TF_XLA_FLAGS"])
def test_another_processor_version_or_flag_has_another_folder(change, monkeypatch):
    first = cache._name_of_machine()
    assert first == cache._name_of_machine()
    if change == "flags":
        monkeypatch.setattr(cache, "cpu_flags", lambda: frozenset({"avx2"}))
    elif change == "model":
        monkeypatch.setattr(cache, "cpu_model", lambda: "Another CPU 25 1 2")
    elif change == "version":
        monkeypatch.setattr(cache.importlib.metadata, "version", lambda name: "2.99")
    else:
        monkeypatch.setenv(change, "--xla_cpu_max_isa=AVX")
    assert cache._name_of_machine() != first


@pytest.mark.parametrize(
    "why",
    [
        "off",
        "own flags",
        "unknown processor",
        "a file",
        "a space",
        "others can write",
        "full disk",
        "quota",
        "read-only",
    ],
)
def test_without_a_usable_folder_there_is_no_cache(why, parent, monkeypatch):
    if why == "off":
        monkeypatch.setenv(cache.FOLDER_VARIABLE, "off")
    elif why == "own flags":
        monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory=/elsewhere")
    elif why == "unknown processor":
        monkeypatch.setattr(cache, "cpu_flags", frozenset)
    elif why == "a space":
        monkeypatch.setenv(cache.FOLDER_VARIABLE, str(parent / "two words"))
    elif why == "a file":
        parent.write_text("")
    elif why == "others can write":
        (parent / cache._name_of_machine()).mkdir(parents=True)
        (parent / cache._name_of_machine()).chmod(0o777)
    elif why == "full disk":
        monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=100 << 20))
    elif why == "quota":

        def full(file):
            raise OSError(122, "Disk quota exceeded")

        monkeypatch.setattr(cache.os, "fsync", full)
    else:

        def refuse(self, *args, **kwargs):
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(cache.Path, "mkdir", refuse)
    before = os.environ.get("TF_XLA_FLAGS")
    assert cache.enable() is None and os.environ.get("TF_XLA_FLAGS") == before
    cache.seal()
    assert not list(parent.rglob("probe*"))


def test_only_complete_entries_are_left(parent):
    folder = cache.enable()
    add_entry(folder, "good", age=1000)
    add_entry(folder, "damaged", age=1000).write_bytes(b"cod")
    add_entry(folder, "flipped", age=1000).write_bytes(b"cole")
    add_entry(folder, "no text", age=1000).with_suffix(".sha256").write_bytes(b"\xff\x00")
    add_entry(folder, "abandoned", age=1000, sealed=False)
    add_entry(folder, "in progress", age=1, sealed=False)
    (folder / "left.pb.tmp").write_bytes(b"part")
    os.utime(folder / "left.pb.tmp", (time.time() - 1000,) * 2)
    add_entry(folder, "gone", age=1000).unlink()
    cache.remove_unusable(folder)
    assert names(folder) == ["good.pb", "good.sha256", "in progress.pb"]
    cache.seal()
    assert names(folder) == ["good.pb", "good.sha256", "in progress.pb", "in progress.sha256"]


def test_the_oldest_entries_are_removed_beyond_the_limit(parent, monkeypatch):
    folder = cache.enable()
    for i in range(4):
        add_entry(folder, f"entry{i}", bytes(100), age=10 * i)
    monkeypatch.setattr(cache, "MAX_BYTES", 250)
    cache.remove_unusable(folder)
    assert names(folder) == ["entry0.pb", "entry0.sha256", "entry1.pb", "entry1.sha256"]


def test_a_digest_that_cannot_be_written_is_no_error(parent):
    folder = cache.enable()
    add_entry(folder, "entry", sealed=False)
    shutil.rmtree(folder)
    folder.write_text("")  # as after a change by somebody else
    cache.seal()


def test_a_second_run_compiles_nothing_and_has_the_same_result(parent, tmp_path):
    words = ["--env", "CartPole-v1", "--max-iters", "2", "--num-envs", "1", "--timesteps-per-actorbatch", "64"]
    words += ["--optim-batchsize", "32", "--optim-epochs", "2", "--report", "false", "--quiet", "--seed", "3"]

    def policy(name, variables):
        run_dir = tmp_path / name
        done = jobs.run(1, jobs.RUN, *words, "--run-dir", run_dir, env=os.environ | variables)
        assert (done.returncode, done.stderr) == (0, "")
        return (run_dir / "policy/policy.safetensors").read_bytes()

    first = policy("first", {})
    (folder,) = parent.iterdir()
    entries = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(entries) >= 4 and {path.suffix for path in entries} == {".pb", ".sha256"}
    assert policy("second", {}) == first == policy("third", {cache.FOLDER_VARIABLE: "off"})
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == entries
