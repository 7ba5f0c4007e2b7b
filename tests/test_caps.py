"""Caps that fail: a file or function at its cap is a missing noun."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import source_tree as source

MODULE_LINES = 400
FUNCTION_LINES = 50
POSITIONAL_ARGUMENTS = 5

FILES = [
    pytest.param(path, id=name)
    for name, path in source.modules().items()
    if source.GENERATED not in path.as_posix()
]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def too_long(tree: ast.AST) -> list[str]:
    return [
        f"{function.name}: {lines} lines"
        for function in functions(tree)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES
    ]


def too_many_arguments(tree: ast.AST) -> list[str]:
    found = []
    for function in functions(tree):
        arguments = [*function.args.posonlyargs, *function.args.args]
        given = [argument for argument in arguments if argument.arg not in ("self", "cls")]
        if len(given) > POSITIONAL_ARGUMENTS:
            found.append(f"{function.name}: {len(given)} positional arguments")
    return found


@pytest.mark.parametrize("path", FILES)
def test_modules_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MODULE_LINES, f"{lines} lines; split it by noun"


@pytest.mark.parametrize("path", FILES)
def test_functions_are_short(path: Path) -> None:
    assert too_long(source.tree(path)) == [], f"at most {FUNCTION_LINES} lines each"


@pytest.mark.parametrize("path", FILES)
def test_functions_take_few_positional_arguments(path: Path) -> None:
    assert too_many_arguments(source.tree(path)) == [], "make them keyword-only or a dataclass"


@pytest.mark.parametrize("path", FILES)
def test_sources_are_ascii_and_start_with_a_docstring(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.isascii(), [line for line in text.splitlines() if not line.isascii()][:3]
    assert ast.get_docstring(source.tree(path)), "say in one line what the module is for"


def test_the_caps_see_what_they_forbid() -> None:
    body = "\n".join(f"    x{i} = {i}" for i in range(FUNCTION_LINES))
    tree = ast.parse(f"class A:\n  def f(self, a, b, c, d, e, *, g): ...\ndef h():\n{body}\n")
    assert too_long(tree) == ["h: 51 lines"]
    assert too_many_arguments(tree) == []
    assert too_many_arguments(ast.parse("def f(a, b, c, d, e, f): ...")) != []
