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

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("baselines_ppo", "common")
SIZED = (*PACKAGES, "benchmarks", "tests")  # folders whose files and functions have a limit
MAX_FILE_LINES = 300
LONG_FILES = {"common/distributions.py"}  # one file holds all distributions, as in Baselines
MAX_FUNCTION_LINES = 60
MAX_FOLDER_FILES = 14
DATA_FOLDERS = {"benchmarks/results", "tests/data", "tests/reference"}  # recorded results, not source
MIN_ANNOTATED = 0.95

# The TensorFlow gates: the only functions that import our own modules, so that other commands start without TensorFlow.
# {file: modules that its functions may import}; six imports at most.
GATES = {
    "baselines_ppo/__main__.py": {"baselines_ppo.play.command", "baselines_ppo.train.runner"},
    "baselines_ppo/train/runner.py": {"baselines_ppo.train.learn_run"},
    "baselines_ppo/play/command.py": {"baselines_ppo.play.episodes"},
    "baselines_ppo/report/command.py": {"baselines_ppo.report.video"},
    "baselines_ppo/export/command.py": {"baselines_ppo.export.writers"},
}
LAZY_NAMESPACES = {
    "baselines_ppo/__init__.py",
    "baselines_ppo/export/__init__.py",
}  # PEP 562, `__getattr__` of a package

# Modules that must not load TensorFlow: packages, and modules of other packages.
TENSORFLOW_FREE = (
    "baselines_ppo",
    "baselines_ppo.config.*",
    "baselines_ppo.cli.*",
    "baselines_ppo.train.runner",
    "baselines_ppo.play.command",
    "baselines_ppo.report.command",
    "baselines_ppo.report.page",
    "baselines_ppo.report.figures",
    "baselines_ppo.report.summary",
    "baselines_ppo.sweep.*",
    "baselines_ppo.plot.*",
    "baselines_ppo.experiment.setup",
    "baselines_ppo.experiment.directory",
    "baselines_ppo.experiment.progress",
    "baselines_ppo.experiment.metadata",
    "baselines_ppo.experiment.summary",
    "common",
    "common.errors",
    "common.validation",
    "common.formatting",
    "common.seeding",
    "common.hints",
    "common.storage.*",
    "common.runtime.*",
    "common.distributed.*",
    "common.runs.*",
    "common.envs.*",
    "common.vec_env.*",
    "common.training.callbacks",
    "common.training.stopping",
    "common.policies.files",
    "common.policies.space_serialization",
    "common.policies.observation_encoder",
    "common.rollouts.advantages",
    "common.rollouts.episodes",
    "common.rollouts.segment",
    "common.rollouts.evaluation",
)


class Tree:
    """The Python files under `root`, parsed once: {path relative to root: (source, syntax tree)}."""

    def __init__(self, root=ROOT, folders=(*PACKAGES, "tests", "benchmarks")):
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


def large_files(tree):
    for path, (source, _) in tree.files.items():
        lines = source.count("\n")
        if lines > MAX_FILE_LINES and path.startswith(SIZED) and path not in LONG_FILES:
            yield path, 1, "file size", f"{lines} lines, {MAX_FILE_LINES} allowed"


def long_functions(tree):
    for path, (_, module) in tree.files.items():
        for node in functions(module) if path.startswith(SIZED) else ():
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


def own_imports(tree):
    """(path, line, module, is_lazy) of each import of one of our own modules; imports for type checkers alone are left out."""
    for path, module in tree.package_files().items():
        yield from _imports_of(path, module, tree.modules, lazy=False)


def _imports_of(path, node, modules, lazy):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            children = child.orelse
            for statement in children:
                yield from _imports_of(path, statement, modules, lazy)
            continue
        for name in imported(child, path, modules):
            yield path, child.lineno, name, lazy
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _imports_of(path, child, modules, lazy or inside)


def imported(node, path, modules):
    """Our own modules that a statement or a call of `import_module` imports."""
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = path.split("/")[: -node.level]
            base = ".".join(package + ([node.module] if node.module else []))
        names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base for alias in node.names]
    elif (
        isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("import_module")
        and isinstance(node.args[0], ast.Constant)
    ):
        names = [node.args[0].value]
    return dict.fromkeys(name for name in names if name in modules)


def lazy_imports(tree):
    allowed = sum(len(modules) for modules in GATES.values())
    if allowed > 6:
        yield ".ci/check_structure.py", 1, "lazy import", f"GATES lists {allowed} imports, 6 allowed"
    used = set()
    for path, line, name, lazy in own_imports(tree):
        used.add((path, name))
        if lazy and path not in LAZY_NAMESPACES and name not in GATES.get(path, ()):
            yield (
                path,
                line,
                "lazy import",
                f"{name} is imported inside a function; only the gates of .ci/check_structure.py may",
            )
    for path, names in GATES.items():
        for name in names:
            if (path, name) not in used:
                yield (
                    ".ci/check_structure.py",
                    1,
                    "lazy import",
                    f"GATES lists {name} in {path}, which does not import it",
                )


def import_cycles(tree):
    """Groups of modules that import each other, those inside functions included. The lazy namespaces of packages are left out."""
    graph = {}
    for path, _, name, _ in own_imports(tree):
        if path not in LAZY_NAMESPACES:
            graph.setdefault(module_name(path), set()).add(name)
    for group in cycles(graph):
        yield tree.modules[group[0]], 1, "import cycle", " <-> ".join(group)


def cycles(graph):
    """Strongly connected components of more than one node, sorted (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            at = stack.index(node)
            group = sorted(stack[at:])
            del stack[at:]
            if len(group) > 1:
                found.append(group)

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found)


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


def tensorflow_free(tree):
    """Names of the modules that must not load TensorFlow."""
    for pattern in TENSORFLOW_FREE:
        package = pattern.removesuffix(".*")
        inside = [
            name
            for name in tree.modules
            if name == package or pattern.endswith(".*") and name.startswith(package + ".")
        ]
        yield from (name for name in inside if not name.endswith("__main__"))


IMPORT_EACH = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if "tensorflow" in sys.modules:
        print(name)
        break
"""


def tensorflow_loaded(tree):
    """Imports all these modules in one fresh process; after one that loads TensorFlow the rest in another."""
    for pattern in TENSORFLOW_FREE:
        if pattern.removesuffix(".*") not in tree.modules:
            yield ".ci/check_structure.py", 1, "TensorFlow", f"TENSORFLOW_FREE names {pattern}, which does not exist"
    names = list(dict.fromkeys(tensorflow_free(tree)))
    while names:
        process = subprocess.run(
            [sys.executable, "-c", IMPORT_EACH, *names], cwd=tree.root, capture_output=True, text=True
        )
        if process.returncode:
            yield ".ci/check_structure.py", 1, "TensorFlow", "import failed: " + process.stderr.strip().splitlines()[-1]
            return
        loaded = process.stdout.strip().splitlines()
        if not loaded:
            return
        yield tree.modules[loaded[-1]], 1, "TensorFlow", f"importing {loaded[-1]} loads TensorFlow"
        names = names[names.index(loaded[-1]) + 1 :]


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
