"""Caps that fail: a file or function at its cap is a missing noun, and so is a mixed tuple."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

from tests.support import source_tree as source

MODULE_LINES = 400
FUNCTION_LINES = 50
POSITIONAL_ARGUMENTS = 5

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


def skips_outside_tables(text: str) -> list[str]:
    """Lines that the formatter is kept from, but for tables.

    A table is a literal dict, list, tuple or set at the top of a module, or what a test is
    parametrized with.
    """
    tree, tables = ast.parse(text), set()
    for node in tree.body:
        literal = isinstance(node, ast.Assign | ast.AnnAssign) and node.value
        if isinstance(literal, ast.Dict | ast.List | ast.Tuple | ast.Set):
            tables.add(node.end_lineno)
    for function in functions(tree):
        for call in function.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("parametrize"):
                tables.add(call.end_lineno)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [
        f"line {token.start[0]}"
        for token in tokens
        if token.type == tokenize.COMMENT and "fmt:" in token.string
        if token.start[0] not in tables
    ]


def mixed_tuples(tree: ast.Module) -> list[str]:
    """Tuple types of three elements or more that differ, in signatures and fields.

    Pairs are let be, of which there are some 60: a key and its value, a row and whether it is new.
    """
    annotations: list[ast.AST | None] = []
    for node in ast.walk(tree):
        if isinstance(node, Function):
            annotations.append(node.returns)
        elif isinstance(node, ast.arg):
            annotations.append(node.annotation)
        elif isinstance(node, ast.ClassDef):
            annotations += [n.annotation for n in node.body if isinstance(n, ast.AnnAssign)]
    return [
        f"line {part.lineno}: {ast.unparse(part)}"
        for annotation in filter(None, annotations)
        for part in ast.walk(annotation)
        if isinstance(part, ast.Subscript) and ast.unparse(part.value) == "tuple"
        if isinstance(part.slice, ast.Tuple) and len(part.slice.elts) > 2
        if len({ast.unparse(each) for each in part.slice.elts}) > 1
    ]


def written() -> list[tuple[str, Path]]:
    """Names and files of the modules that people write."""
    files = source.modules().items()
    return [(name, path) for name, path in files if source.GENERATED not in path.as_posix()]


def test_modules_are_short() -> None:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in written()}
    long = [f"{name}: {count} lines" for name, count in lines.items() if count > MODULE_LINES]
    assert not long, f"at most {MODULE_LINES} each, split it by noun: {long}"


def test_functions_are_short() -> None:
    found = [f"{name}.{each}" for name, path in written() for each in too_long(source.tree(path))]
    assert not found, f"at most {FUNCTION_LINES} each: {found}"


def test_functions_take_few_positional_arguments() -> None:
    found = [
        f"{name}.{each}"
        for name, path in written()
        for each in too_many_arguments(source.tree(path))
    ]
    assert not found, f"make them keyword-only or a dataclass: {found}"


def test_sources_are_ascii_and_start_with_a_docstring() -> None:
    foreign = [name for name, path in written() if not path.read_text("utf-8").isascii()]
    silent = [name for name, path in written() if not ast.get_docstring(source.tree(path))]
    assert not foreign, f"not ASCII: {foreign}"
    assert not silent, f"say in one line what the module is for: {silent}"


def test_only_tables_are_kept_from_the_formatter() -> None:
    paths = [path for _, path in written()]
    paths += sorted((source.ROOT / "benchmarks").rglob("*.py"))
    paths += sorted((source.ROOT / "tests").rglob("*.py"))
    found = {
        path.relative_to(source.ROOT).as_posix(): lines
        for path in paths
        if (lines := skips_outside_tables(path.read_text("utf-8")))
    }
    assert not found, f"let ruff format it, or give its parts names: {found}"


def test_what_differs_has_a_name_not_a_place() -> None:
    found = {name: mixed for name, path in written() if (mixed := mixed_tuples(source.tree(path)))}
    assert not found, f"make it a dataclass or a NamedTuple: {found}"


def test_the_caps_see_what_they_forbid() -> None:
    body = "\n".join(f"    x{i} = {i}" for i in range(FUNCTION_LINES))
    tree = ast.parse(f"class A:\n  def f(self, a, b, c, d, e, *, g): ...\ndef h():\n{body}\n")
    assert too_long(tree) == ["h: 51 lines"]
    assert too_many_arguments(tree) == []
    assert too_many_arguments(ast.parse("def f(a, b, c, d, e, f): ...")) != []
    given = "@pytest.mark.parametrize('a', [1])  # fmt: skip\ndef f(a): ...\n"
    table = f"A = (\n  1,\n)  # fmt: skip\n{given}"
    assert skips_outside_tables(table) == []
    hidden = "A = f(\n  1,\n)  # fmt: skip\ndef f():\n  a = [1]  # fmt: skip\n# fmt: off\n"
    assert skips_outside_tables(hidden) == ["line 3", "line 5", "line 6"]
    mixed = (
        "A = tuple[str, int, str]\ndef f(a: list[tuple[int, str, int]]) -> tuple[A, A, int]: ...\n"
    )
    field = "class B:\n  b: dict[str, tuple[int, int, str]]\n"
    assert len(mixed_tuples(ast.parse(mixed + field))) == 3
    alike = "def f(a: tuple[int, int, int], b: tuple[str, int]) -> tuple[A, ...]: ...\n"
    assert mixed_tuples(ast.parse(alike)) == []
