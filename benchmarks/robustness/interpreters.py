"""Virtual environments of other Python interpreters, with this checkout installed for its tests."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks.paths import ROOT


def interpreter(word):
    """The path of a Python interpreter that starts, from a path or a command's name; None if there is none.

    A command on the PATH may be a shim of pyenv for a version that is installed and not chosen, so that its versions are tried, too.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for path in (shutil.which(word), *sorted(pyenv.glob(f"versions/*/bin/{word}"), reverse=True)):
        if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
            return str(path)
    return None


def declared(setup=ROOT / "setup.py"):
    """(requirements, {extra: requirements}) as setup.py writes them."""
    call = next(
        node
        for node in ast.walk(ast.parse(setup.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    )
    words = {one.arg: one.value for one in call.keywords}
    return [ast.literal_eval(words[name]) for name in ("install_requires", "extras_require")]


def oldest(requirements):
    """pip's constraints that allow the lower bound of each requirement and nothing newer; one without a bound gives none."""
    for text in requirements:
        one = Requirement(text)
        for part in one.specifier:
            if part.operator == ">=":
                yield f"{one.name}=={part.version}{f' ; {one.marker}' if one.marker else ''}"


def install(python, folder, with_oldest=False):
    """A virtual environment of `python` in `folder`, new or as an earlier call left it; the path of its interpreter.

    Args:
        with_oldest: the oldest version of every dependency that setup.py allows, and of its test extra's; else the newest.

    Raises:
        subprocess.CalledProcessError: with pip's own words printed.
    """
    subprocess.run([python, "-m", "venv", folder], check=True)
    inside = str(Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if with_oldest:
        needed, extras = declared()
        constraints = Path(folder) / "oldest.txt"
        constraints.write_text("\n".join([*oldest(needed + extras["test"]), ""]))
        subprocess.run([*pip, "--constraint", constraints, "--editable", ".[test]"], cwd=ROOT, check=True)
    else:
        subprocess.run(
            [*pip, "--upgrade", "--upgrade-strategy", "eager", "--editable", ".[test]"], cwd=ROOT, check=True
        )
    return inside
