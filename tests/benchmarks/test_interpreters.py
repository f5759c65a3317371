"""interpreters.py: oldest versions of the requirements, and Python interpreters on this machine."""

import sys

from packaging.requirements import Requirement

from benchmarks.robustness import interpreters


def test_every_requirement_has_a_lower_bound():
    required, extras = interpreters.declared_requirements()
    requirements = required + extras["test"]
    assert len(list(interpreters.oldest_constraints(requirements))) == len(requirements) > 15
    assert all(
        str(Requirement(line).specifier).startswith("==") for line in interpreters.oldest_constraints(requirements)
    )


def test_oldest_constraint_is_the_lower_bound_with_its_marker():
    assert list(interpreters.oldest_constraints(["a[x]>=1.4,<2", 'b>=5.0; sys_platform == "linux"', "c"])) == [
        "a==1.4",
        'b==5.0 ; sys_platform == "linux"',
    ]


def test_interpreter_that_does_not_start_is_not_found(tmp_path, monkeypatch):
    shim = tmp_path / "python9.8"
    shim.write_text("#!/bin/sh\necho not active >&2; exit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert interpreters.find_interpreter("python9.8") is None and interpreters.find_interpreter(str(shim)) is None
    installed = tmp_path / "pyenv/versions/9.8.1/bin/python9.8"
    installed.parent.mkdir(parents=True)
    installed.symlink_to(sys.executable)
    assert interpreters.find_interpreter("python9.8") == str(installed)
    assert interpreters.find_interpreter(sys.executable) == sys.executable
