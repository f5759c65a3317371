"""Virtual environments of other Python interpreters, with this clone installed for its tests."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks.paths import ROOT


def find_interpreter(name: str) -> str | None:
    """Path of a Python interpreter that starts, from a path or a command; None if there is none.

    A command on the PATH may be a pyenv shim of a version that is installed but not active, so pyenv's versions are
    searched as well.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for path in (shutil.which(name), *sorted(pyenv.glob(f"versions/*/bin/{name}"), reverse=True)):
        if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
            return str(path)
    return None


def declared_requirements(setup: Path = ROOT / "setup.py") -> tuple[list[str], dict[str, list[str]]]:
    """(requirements, {extra: requirements}) in setup.py."""
    calls = [node for node in ast.walk(ast.parse(setup.read_text())) if isinstance(node, ast.Call)]
    (call,) = [node for node in calls if getattr(node.func, "id", "") == "setup"]
    arguments = {one.arg: one.value for one in call.keywords}
    return ast.literal_eval(arguments["install_requires"]), ast.literal_eval(arguments["extras_require"])


def oldest_constraints(requirements: Iterable[str]) -> Iterator[str]:
    """pip constraints that fix each requirement to its lower bound; a requirement without one gives none."""
    for text in requirements:
        requirement = Requirement(text)
        for part in requirement.specifier:
            if part.operator == ">=":
                marker = f" ; {requirement.marker}" if requirement.marker else ""
                yield f"{requirement.name}=={part.version}{marker}"


def install(python: str, directory: Path, oldest: bool = False) -> str:
    """Create or update a virtual environment; returns the path of its interpreter.

    Args:
        python: interpreter to create it with.
        directory: of the environment.
        oldest: install the oldest version of every dependency that setup.py allows, including the test extra; otherwise the
            latest.

    Raises:
        subprocess.CalledProcessError: if pip fails; it has printed the reason.
    """
    subprocess.run([python, "-m", "venv", directory], check=True)
    inside = str(Path(directory) / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if oldest:
        required, extras = declared_requirements()
        constraints = Path(directory) / "oldest.txt"
        constraints.write_text("\n".join([*oldest_constraints(required + extras["test"]), ""]))
        options = ["--constraint", str(constraints)]
    else:
        options = ["--upgrade", "--upgrade-strategy", "eager"]
    subprocess.run([*pip, *options, "--editable", ".[test]"], cwd=ROOT, check=True)
    return inside
