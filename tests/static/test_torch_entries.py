"""Threads and memory are settled before torch is imported, whatever imports it first."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support import source_tree as source

TORCH = {"torch", "torchvision", "lightning_fabric", "segmentation_models_pytorch", "timm"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# What runs as a program of its own beside the packages; pytest's processes begin with the conftest.
BENCHMARKS = source.ROOT / "benchmarks/__init__.py"
CONFTEST = source.ROOT / "tests/conftest.py"
PROGRAMS = (source.ROOT / "tests/support/fingerprint.py",)


@cache
def loads_torch(name: str) -> bool:
    """Whether importing one of our modules imports torch."""
    return any(
        source.external_packages(source.imports_at_start(source.modules()[module])) & TORCH
        for module in source.reachable(name)
    )


def begin_unsettled() -> dict[str, Path]:
    """What a process may begin with; importing benchmarks, the package, has settled torch."""
    modules = source.modules().items()
    return {name: path for name, path in modules if not name.startswith("benchmarks.")}


def leads_to_torch(node: ast.AST) -> bool:
    """Whether a statement or a call may be the one that imports torch."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in ("importlib.import_module", "import_module")
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return False
    names = source.names_of(node)
    return bool(source.external_packages(names) & TORCH) or any(
        map(loads_torch, source.own_modules(names))
    )


def settles(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "settle_torch"


def unsettled(tree: ast.Module) -> list[str]:
    """Lines where torch may be imported and nothing before, in the same body, has settled it."""
    found = []
    for scope in (tree, *(n for n in ast.walk(tree) if isinstance(n, FUNCTIONS))):
        calls = [node for node in _own_nodes(scope) if settles(node)]
        first = min((call.lineno for call in calls), default=None)
        found += [
            f"line {node.lineno}"
            for node in _own_nodes(scope)
            if leads_to_torch(node) and (first is None or node.lineno < first)
        ]
    return found


def _own_nodes(scope: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """What runs when `scope` does, without the functions in it and what type checkers read."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, (*FUNCTIONS, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.expr | ast.stmt):
            yield child
        yield from _own_nodes(child)


def test_torch_is_settled_before_it_is_imported() -> None:
    """Of modules that do not import torch themselves: a process begins with such a one."""
    files = {name: path for name, path in begin_unsettled().items() if not loads_torch(name)} | {
        path.name: path for path in PROGRAMS
    }
    wrong = {name: lines for name, path in files.items() if (lines := unsettled(source.tree(path)))}
    assert not wrong, f"call settle_torch() before: {wrong}"


def test_no_program_begins_with_torch() -> None:
    """`python -m` of a module that imports torch at its top would come too late to settle it."""
    programs = [
        name
        for name, path in begin_unsettled().items()
        if path.name == "__main__.py" or '__name__ == "__main__"' in path.read_text("utf-8")
    ]
    assert "pipeline.__main__" in programs
    assert not list(filter(loads_torch, programs))


def test_benchmarks_and_tests_begin_by_settling_it() -> None:
    for path in (BENCHMARKS, CONFTEST):
        tree = source.tree(path)
        assert any(map(settles, _own_nodes(tree))), path
        assert not unsettled(tree), path


def test_the_rule_sees_what_it_forbids() -> None:
    late = "def f():\n    from pipeline.models import MODELS\n    settle_torch()\n"
    hidden = "import importlib\ndef f(name):\n    importlib.import_module(name)\n"
    elsewhere = "def g():\n    settle_torch()\ndef f():\n    import torch.nn\n"
    for text in (late, hidden, elsewhere, "import timm\nsettle_torch()\n"):
        assert len(unsettled(ast.parse(text))) == 1, text
    assert not unsettled(ast.parse("settle_torch()\nimport torch\n"))
    assert not unsettled(ast.parse("if TYPE_CHECKING:\n    import torch\n"))
    assert not unsettled(ast.parse("def f():\n    settle_torch()\n    import pipeline.models\n"))
    assert loads_torch("pipeline.stages.embed")
    assert not loads_torch("pipeline.config.params")
