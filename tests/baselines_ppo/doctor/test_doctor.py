"""The doctor: what it finds in a whole installation, and what it advises for a broken one."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from baselines_ppo.doctor import command, disk, installation, probes
from baselines_ppo.doctor.finding import FIX, NOTE, OK, Finding

ROOT = Path(__file__).resolve().parents[3]


def by_name(findings):
    return {one.name: one for one in findings}


def test_the_status_follows_from_the_advice():
    assert Finding("a", "1").status == OK
    assert Finding("a", "1", "install it").status == FIX
    assert Finding("a", "1", "install it", required=False).status == NOTE
    assert str(Finding("a", "1", "install it")).split() == ["fix", "a", "1;", "install", "it"]


def test_a_whole_installation_needs_no_repair(tmp_path, capsys):
    runs = tmp_path / "new" / "runs"
    status = command.main(["--run-dir", str(runs), "--json"])
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert status == 0, [one for one in found.values() if one["status"] == FIX]
    assert found["mpirun"]["value"].endswith("starts 2 ranks")
    assert found["numpy"]["value"] == importlib.metadata.version("numpy")
    assert found["MuJoCo"]["status"] == found["Atari"]["status"] == OK
    assert not (tmp_path / "new").exists()  # it changes nothing


def test_every_requirement_of_the_package_is_checked():
    names = set(by_name(installation.check_packages()))
    core = [Requirement(text) for text in importlib.metadata.requires("baselines_ppo") if "extra ==" not in text]
    assert {one.name for one in core if one.marker is None} <= names


@pytest.mark.parametrize(
    ("text", "value", "fix"),
    [
        ("numpy>=1", importlib.metadata.version("numpy"), ""),
        ("numpy>=99", "but >=99 is needed", "run pip install 'numpy>=99'"),
        ("no-such-package>=2", "not installed", "run pip install 'no-such-package>=2'"),
    ],
)
def test_a_package_is_compared_with_its_requirement(text, value, fix):
    found = installation.check_requirement(Requirement(text))
    assert value in found.value and found.fix == fix


def test_an_installation_without_metadata_is_named(monkeypatch):
    monkeypatch.setattr(installation, "PACKAGE", "no-such-package")
    (found,) = installation.check_packages()
    assert found.fix == installation.REINSTALL


def test_nothing_is_probed_before_the_packages_are_repaired(monkeypatch, tmp_path, capsys):
    missing = [Finding("numpy", "not installed", "run pip install 'numpy>=2.0'")]
    monkeypatch.setattr(command, "check_packages", lambda: missing)
    assert command.main(["--run-dir", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("fix  further checks") and lines[-1].endswith("2 to fix, 0 optional")


def test_it_starts_without_gymnasium_numpy_and_tensorflow():
    code = "import sys; sys.modules.update(gymnasium=None, numpy=None, tensorflow=None); import baselines_ppo.doctor.command"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_processor_without_avx_is_refused(monkeypatch):
    monkeypatch.setattr(installation, "cpu_flags", lambda: frozenset({"sse4_2"}))
    monkeypatch.setattr(installation.platform, "machine", lambda: "x86_64")
    assert by_name(installation.check_processor())["instruction sets"].status == FIX


def test_little_memory_is_named(monkeypatch):
    monkeypatch.setattr(installation, "memory_limit", lambda: int(1e9))
    assert by_name(installation.check_processor())["memory"].status == FIX


def test_the_error_of_a_child_process_is_its_last_line():
    with pytest.raises(probes.ProbeError, match="^ValueError: broken$"):
        probes.run_child([sys.executable, "-c", "raise ValueError('broken')"])
    with pytest.raises(probes.ProbeError, match="no answer within 0.2 s"):
        probes.run_child([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.2)
    with pytest.raises(probes.ProbeError, match="No such file"):
        probes.run_child(["/no/such/program"])


@pytest.mark.parametrize(("printed", "status"), [("2\n2", OK), ("22\n\n", OK), ("1\n1", FIX)])
def test_separate_processes_instead_of_ranks_are_found(monkeypatch, printed, status):
    monkeypatch.setattr(probes, "run_child", lambda command, *rest: printed if "-n" in command else "MPICH 5.0.2")
    assert by_name(probes.check_mpi())["mpirun"].status == status


def test_a_broken_library_is_named_with_its_error(monkeypatch):
    def fail(*rest):
        raise probes.ProbeError("ImportError: libmpi.so.12")

    monkeypatch.setattr(probes, "run_child", fail)
    found = by_name([*probes.check_tensorflow(), *probes.check_mpi(), *probes.check_environments()])
    assert found["TensorFlow's import"].status == found["MPI library"].status == found["MuJoCo"].status == FIX
    assert found["Box2D"].status == NOTE
    assert "libmpi.so.12" in found["MPI library"].value


def test_a_gpu_that_tensorflow_does_not_find_is_a_note(monkeypatch):
    monkeypatch.setattr(probes, "run_child", lambda *rest: "2.21.0 0")
    monkeypatch.setattr(probes.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert by_name(probes.check_tensorflow())["GPU"].status == NOTE


def test_without_opengl_the_package_to_install_is_named(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(probes, "run_child", lambda *rest: "False none")
    assert "libegl1" in by_name(probes.check_rendering())["videos of MuJoCo"].fix
    monkeypatch.setenv("MUJOCO_GL", "egl")
    assert by_name(probes.check_rendering())["videos of MuJoCo"].fix == "MUJOCO_GL is egl: unset it"


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    (found,) = disk.check_disk(tmp_path / "file" / "runs")
    assert found.status == FIX and "BASELINES_PPO_RUNS" in found.fix


def test_a_slow_and_full_disk_without_locks_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(disk, "MIN_SPEED", 1e15)
    monkeypatch.setattr(disk, "MIN_FREE_BYTES", 1 << 60)
    monkeypatch.setattr(disk, "PROBE_BYTES", 1 << 10)
    monkeypatch.setattr(disk.DirectoryLock, "warning", "no locks", raising=False)
    found = by_name(disk.check_disk(tmp_path))
    assert found["run directory"].status == found["free disk space"].status == FIX
    assert not [*tmp_path.iterdir()]


def test_a_wrong_argument_ends_with_status_2(capsys):
    assert command.main(["--runs", "here"]) == 2
    assert "did you mean --run-dir?" in capsys.readouterr().err
