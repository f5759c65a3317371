"""Rules of the structure check for imports between our own modules, and for modules that must not load TensorFlow."""

import ast
import subprocess
import sys

from source_tree import module_name

# The TensorFlow gates: the only functions that import our own modules, so that other commands start without TensorFlow.
# {file: modules that its functions may import}; six imports at most.
GATES = {
    "baselines_ppo/__main__.py": {"baselines_ppo.play.command", "baselines_ppo.train.runner"},
    "baselines_ppo/train/runner.py": {"baselines_ppo.train.learn_run"},
    "baselines_ppo/play/command.py": {"baselines_ppo.play.episodes"},
    "baselines_ppo/report/command.py": {"baselines_ppo.report.video"},
    "baselines_ppo/export/command.py": {"baselines_ppo.export.writers"},
}
# PEP 562, `__getattr__` of a package
LAZY_NAMESPACES = {
    "baselines_ppo/__init__.py",
    "baselines_ppo/export/__init__.py",
}

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
    "baselines_ppo.tune.*",
    "baselines_ppo.plot.*",
    "baselines_ppo.doctor.*",
    "baselines_ppo.experiment.setup",
    "baselines_ppo.experiment.directory",
    "baselines_ppo.experiment.progress",
    "baselines_ppo.experiment.metadata",
    "baselines_ppo.experiment.summary",
    "common",
    "common.errors",
    "common.validation",
    "common.formatting",
    "common.space_tree",
    "common.seeding",
    "common.hints",
    "common.storage.*",
    "common.runtime.*",
    "common.distributed.*",
    "common.runs.*",
    "common.envs.*",
    "common.vec_env.*",
    "common.demonstrations.*",
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
        yield ".ci/import_rules.py", 1, "lazy import", f"GATES lists {allowed} imports, 6 allowed"
    used = set()
    for path, line, name, lazy in own_imports(tree):
        used.add((path, name))
        if lazy and path not in LAZY_NAMESPACES and name not in GATES.get(path, ()):
            yield (
                path,
                line,
                "lazy import",
                f"{name} is imported inside a function; only the gates of .ci/import_rules.py may",
            )
    for path, names in GATES.items():
        for name in names:
            if (path, name) not in used:
                yield (
                    ".ci/import_rules.py",
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
            yield ".ci/import_rules.py", 1, "TensorFlow", f"TENSORFLOW_FREE names {pattern}, which does not exist"
    names = list(dict.fromkeys(tensorflow_free(tree)))
    while names:
        process = subprocess.run(
            [sys.executable, "-c", IMPORT_EACH, *names], cwd=tree.root, capture_output=True, text=True
        )
        if process.returncode:
            yield ".ci/import_rules.py", 1, "TensorFlow", "import failed: " + process.stderr.strip().splitlines()[-1]
            return
        loaded = process.stdout.strip().splitlines()
        if not loaded:
            return
        yield tree.modules[loaded[-1]], 1, "TensorFlow", f"importing {loaded[-1]} loads TensorFlow"
        names = names[names.index(loaded[-1]) + 1 :]
