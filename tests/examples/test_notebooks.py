"""The notebooks are valid, hold no outputs, and run cell by cell with small parameters.

Their cells are executed in this process, without a kernel. Nothing in them may depend on one, except
`IPython.display.Image`, which is replaced: it checks that its file is an image.
"""

import ast
import json
import re
import sys
from types import ModuleType

import pytest
from jobs import ROOT

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
SMALL = {
    "cartpole": {"TIMESTEPS": 1024, "ROLLOUT": 512, "EPISODES": 2},
    "compare_settings": {"TIMESTEPS": 512, "ROLLOUT": 256, "SEEDS": 2, "EPISODES": 2},
}


def cells_of(path, kind):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [("".join(cell["source"]), cell) for cell in cells if cell["cell_type"] == kind]


def shown_image(filename):
    import imageio.v3 as imageio

    assert imageio.imread(filename).size > 0
    return filename


@pytest.fixture
def execute(tmp_path, monkeypatch, uncompiled_here, no_registrations):
    """A function (name) that executes a notebook with small parameters in a temporary directory; returns its names."""
    import matplotlib

    matplotlib.use("Agg")
    display = ModuleType("IPython.display")
    display.Image = shown_image
    package = ModuleType("IPython")
    package.version_info = (9, 0, 0)  # matplotlib reads it, and asks for a shell when its backend changes
    package.get_ipython = lambda: None
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.chdir(tmp_path)

    def run(name):
        namespace = {"__name__": "__main__"}
        for number, (source, cell) in enumerate(cells_of(ROOT / "examples" / "notebooks" / f"{name}.ipynb", "code")):
            exec(compile(source, f"{name}, code cell {number}", "exec"), namespace)
            if "parameters" in cell["metadata"].get("tags", ()):
                namespace.update(SMALL[name])
        matplotlib.pyplot.close("all")
        return namespace

    return run


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs_and_one_cell_of_parameters(path):
    code = cells_of(path, "code")
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for _, cell in code)
    (parameters,) = (source for source, cell in code if "parameters" in cell["metadata"].get("tags", ()))
    assigned = {target.id for node in ast.parse(parameters).body for target in node.targets}
    assert SMALL[path.stem].keys() <= assigned and "DIRECTORY" in assigned


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_explains_each_cell(path):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is in the extra `test`")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_cartpole(execute, tmp_path, capsys):
    names = execute("cartpole")
    output = capsys.readouterr().out
    assert "2 iterations, 1,024 steps" in output and "2 episodes, return" in output
    assert len(names["curve"].rows) == 2 and names["evaluation"].episodes == 2
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"runs/cartpole/video.gif", "runs/cartpole/cartpole.safetensors"}


def test_compare_settings(execute, tmp_path, capsys):
    names = execute("compare_settings")
    output = capsys.readouterr().out
    assert len(re.findall(r"learning rate \S+, seed \d: mean return", output)) == 4
    for scores, found in zip(names["scores"].values(), names["found"].values()):
        assert len(scores) == 2 and found["mean"] == pytest.approx(sum(scores) / 2)
    assert "significant" in output or "no test is possible" in output
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"runs/compare_settings/comparison.png"}
