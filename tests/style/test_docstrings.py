"""Every public module, class, function and method of the packages has a docstring, which the API reference shows."""

import ast

from jobs import ROOT


def public_definitions(node, name):
    """Yield (name, syntax tree) of the public classes, functions and methods in a module or class."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If | ast.Try | ast.With):
            yield from public_definitions(child, name)
        elif isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and child.name[0] != "_":
            yield f"{name}.{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from public_definitions(child, f"{name}.{child.name}")


def test_public_definitions_have_a_docstring():
    found = {}
    for package in ("baselines_ppo", "common"):
        for path in (ROOT / package).rglob("*.py"):
            module = ast.parse(path.read_text(encoding="utf-8"))
            name = path.relative_to(ROOT).as_posix()
            found |= {name: module, **dict(public_definitions(module, name))}
    assert len(found) > 1000
    assert [name for name, node in found.items() if not ast.get_docstring(node)] == []
