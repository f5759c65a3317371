"""The structure check finds what it is for, on a small tree."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".ci"))
import check_structure  # noqa: E402
import import_rules  # noqa: E402
import replaced_names  # noqa: E402

BASE = {"baselines_ppo/__init__.py": "", "common/__init__.py": "", "common/errors.py": ""}


@pytest.fixture
def tree_of(tmp_path):
    def make(**files):
        for path, source in (BASE | files.pop("files")).items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
        subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
        return check_structure.Tree(tmp_path)

    return make


def texts(found):
    return [(path, line, text) for path, line, _, text in found]


def test_sizes(tree_of):
    long_function = "def f():\n" + "    x = 1\n" * check_structure.MAX_FUNCTION_LINES
    files = {"common/a.py": long_function, "common/b.py": "\n" * (check_structure.MAX_FILE_LINES + 1)}
    files |= {f"common/many/file{n}.txt": "" for n in range(check_structure.MAX_FOLDER_FILES + 1)}
    tree = tree_of(files=files)
    assert texts(check_structure.large_files(tree)) == [("common/b.py", 1, "301 lines, 300 allowed")]
    assert texts(check_structure.long_functions(tree)) == [("common/a.py", 1, "f has 61 lines, 60 allowed")]
    assert texts(check_structure.full_folders(tree)) == [("common/many", 1, "15 files, 14 allowed")]


def test_imports_inside_functions_and_cycles(tree_of, monkeypatch):
    monkeypatch.setattr(import_rules, "GATES", {"common/b.py": {"common.c"}, "common/c.py": {"common.b"}})
    lazy = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import common.b\ndef f():\n    from common import b\n"
    )
    tree = tree_of(
        files={"common/a.py": lazy, "common/b.py": "from common.c import x\n", "common/c.py": "import common.a\n"}
    )
    assert [(path, line) for path, line, _, _ in import_rules.lazy_imports(tree)] == [
        ("common/a.py", 5),
        (".ci/import_rules.py", 1),  # the gate in c.py, which does not import b
    ]
    assert texts(import_rules.import_cycles(tree)) == [("common/a.py", 1, "common.a <-> common.b <-> common.c")]


def test_imports_for_type_checkers_alone_make_no_cycle(tree_of):
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from common.b import B\n"
    tree = tree_of(files={"common/a.py": typed, "common/b.py": "import common.a\n"})
    assert list(import_rules.import_cycles(tree)) == []


def test_annotations_of_public_functions_and_methods(tree_of):
    source = (
        "def f(a: int, *, b) -> int: ...\ndef _g(a): ...\n"
        "class C:\n    def __init__(self, a: int): ...\n    def h(self): ...\n    @staticmethod\n    def s(a): ...\n"
    )
    tree = tree_of(files={"common/a.py": source})
    missing = [(node.name, names) for _, node, names in check_structure.public_functions(tree)]
    assert missing == [("f", ["b"]), ("__init__", []), ("h", ["return"]), ("s", ["a", "return"])]
    assert texts(check_structure.missing_annotations(tree))[0][2].startswith("25.0% of 4 public functions")


def test_replaced_names(tree_of, monkeypatch):
    monkeypatch.setattr(replaced_names, "IN_FILES", {"common/errors.py": "fix"})
    source = "class Door:\n    ALONE = 1\n    def f(self, fix, goes_on=1):\n        self.way_on = fix = leftovers = 1\n"
    tree = tree_of(files={"common/a.py": source, "common/errors.py": "def g(fix): ...\n", "common/door.py": ""})
    found = texts(replaced_names.findings(tree))
    assert found == [
        ("common/a.py", 1, "Door"),
        ("common/a.py", 2, "ALONE"),
        ("common/a.py", 3, "goes_on"),
        ("common/a.py", 4, "way_on"),
        ("common/door.py", 1, "module door"),
        ("common/errors.py", 1, "fix"),
    ]


def test_a_module_that_loads_tensorflow_is_named(tree_of, monkeypatch):
    monkeypatch.setattr(import_rules, "TENSORFLOW_FREE", ("common", "common.errors", "common.b", "common.c"))
    stub = {"tensorflow.py": "", "common/b.py": "import tensorflow\n", "common/c.py": "import common.b\n"}
    tree = tree_of(files=stub)
    assert [text for _, _, text in texts(import_rules.tensorflow_loaded(tree))] == [
        "importing common.b loads TensorFlow",
        "importing common.c loads TensorFlow",
    ]
