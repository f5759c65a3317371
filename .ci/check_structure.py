#!/usr/bin/env python3
"""Structure check: sizes of files, functions and folders, imports between our own modules, annotations, names that were replaced.

    python .ci/check_structure.py                                the whole tree
    python .ci/check_structure.py --package common/distributed   what concerns one package or file; may be repeated
    python .ci/check_structure.py --imports                      also import each module that must not load TensorFlow (seconds)

Output: one line `file:line: rule: text` per finding; the exit status is 1 if there is one.
"""

import argparse
import ast
import subprocess
import sys
from pathlib import Path

import replaced_names
from import_rules import import_cycles, lazy_imports, tensorflow_loaded
from source_tree import ROOT, Tree, functions

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
MAX_FOLDER_FILES = 14
DATA_FOLDERS = {"benchmarks/results", "tests/data", "tests/reference"}  # recorded results, not source
MIN_ANNOTATED = 0.95


def large_files(tree):
    for path, (source, _) in tree.files.items():
        lines = source.count("\n")
        if lines > MAX_FILE_LINES:
            yield path, 1, "file size", f"{lines} lines, {MAX_FILE_LINES} allowed"


def long_functions(tree):
    for path, (_, module) in tree.files.items():
        for node in functions(module):
            lines = node.end_lineno - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield path, node.lineno, "function size", f"{node.name} has {lines} lines, {MAX_FUNCTION_LINES} allowed"


def full_folders(tree):
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=tree.root, capture_output=True, text=True, check=True
    )
    counts = {}
    for path in listed.stdout.splitlines():
        if (tree.root / path).exists():
            counts.setdefault(Path(path).parent.as_posix(), []).append(path)
    for folder, paths in sorted(counts.items()):
        is_data = any(folder == data or folder.startswith(data + "/") for data in DATA_FOLDERS)
        if len(paths) > MAX_FOLDER_FILES and not is_data:
            yield folder, 1, "folder size", f"{len(paths)} files, {MAX_FOLDER_FILES} allowed"


def public_functions(tree):
    """(path, node, missing) of each public function and method: the names of its parameters without annotation, and "return"."""
    for path, module in tree.package_files().items():
        for node, in_class in _public(module, False):
            arguments = node.args
            parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            is_static = any(ast.unparse(one) == "staticmethod" for one in node.decorator_list)
            if in_class and not is_static:
                parameters = parameters[1:]
            parameters += [one for one in (arguments.vararg, arguments.kwarg) if one]
            missing = [one.arg for one in parameters if one.annotation is None]
            if node.returns is None and node.name != "__init__":
                missing.append("return")
            yield path, node, missing


def _public(node, in_class):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from _public(child, True)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if not child.name.startswith("_") or child.name in ("__init__", "__call__"):
                yield child, in_class
        elif isinstance(child, ast.If | ast.Try | ast.With):
            yield from _public(child, in_class)


def missing_annotations(tree, packages=None):
    """What is missing, if fewer than `MIN_ANNOTATED` of the public functions (of these packages) have all annotations."""
    every = [one for one in public_functions(tree) if concerns(one[0], packages)]
    lacking = [one for one in every if one[2]]
    if len(lacking) > (1 - MIN_ANNOTATED) * len(every):
        part = 1 - len(lacking) / len(every)
        yield (
            every[0][0],
            1,
            "annotations",
            f"{part:.1%} of {len(every)} public functions have all annotations, {MIN_ANNOTATED:.0%} required",
        )
        for path, node, missing in lacking:
            yield path, node.lineno, "annotations", f"{node.name} lacks {', '.join(missing)}"


RULES = (
    large_files,
    long_functions,
    full_folders,
    lazy_imports,
    import_cycles,
    missing_annotations,
    replaced_names.findings,
)


def concerns(path, packages):
    return not packages or any(path == package or path.startswith(package + "/") for package in packages)


def findings(tree, packages=None, rules=RULES):
    """Findings (path, line, rule, text) of these rules, for these packages (None: all)."""
    for rule in rules:
        found = missing_annotations(tree, packages) if rule is missing_annotations else rule(tree)
        yield from (one for one in found if concerns(one[0], packages))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--package", action="append", type=Path, metavar="DIR", help="folder or file to check (default: the whole tree)"
    )
    parser.add_argument("--imports", action="store_true", help="also import the modules that must not load TensorFlow")
    args = parser.parse_args(argv)
    packages = [path.resolve().relative_to(ROOT).as_posix() for path in args.package or []]
    found = list(findings(Tree(), packages, (*RULES, tensorflow_loaded) if args.imports else RULES))
    for path, line, rule, text in found:
        print(f"{path}:{line}: {rule}: {text}")
    print(f"structure check: {len(found)} findings", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
