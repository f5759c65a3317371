"""The Python files of the project, parsed once, for the checks."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("baselines_ppo", "common")
FOLDERS = (*PACKAGES, "tests", "benchmarks", "examples", ".ci")


class Tree:
    """The Python files under `root`, parsed once: {path relative to root: (source, syntax tree)}."""

    def __init__(self, root=ROOT, folders=FOLDERS):
        self.root = root
        self.files = {}
        for folder in folders:
            for path in sorted((root / folder).rglob("*.py")):
                source = path.read_text(encoding="utf-8")
                self.files[path.relative_to(root).as_posix()] = source, ast.parse(source)
        self.modules = {module_name(path): path for path in self.files if path.split("/")[0] in PACKAGES}

    def package_files(self):
        return {path: tree for path, (_, tree) in self.files.items() if path.split("/")[0] in PACKAGES}


def module_name(path):
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def functions(tree):
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
