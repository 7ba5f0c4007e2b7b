"""The project's own modules as syntax trees: what each imports, and when."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Set
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipeline", "db", "flows", "ssl_loop", "benchmarks")
# Written by Alembic's autogenerate: long by nature, and never edited once released.
GENERATED = "db/migrations/versions"


@cache
def modules() -> dict[str, Path]:
    """`dotted name -> file` of every module of the packages."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def all_imports(path: Path) -> frozenset[str]:
    """Everything a file imports anywhere: at the top, in functions, for type checkers."""
    return frozenset(name for node in ast.walk(tree(path)) for name in names_of(node))


@cache
def imports_at_start(path: Path) -> frozenset[str]:
    """What is imported by importing the file, without functions and `if TYPE_CHECKING`."""
    return frozenset(name for node in _executed(tree(path)) for name in names_of(node))


def own_modules(names: Set[str]) -> set[str]:
    """Our modules among `names`, with the packages that are imported on the way to them."""
    found = set()
    for name in names & modules().keys():
        parts = name.split(".")
        found |= {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return found & modules().keys()


def external_packages(names: Set[str]) -> set[str]:
    """Top-level names among `names` that are not ours."""
    return {name.split(".")[0] for name in names} - set(PACKAGES)


def reachable(start: str) -> dict[str, str]:
    """`our module -> the one that imports it`, over imports at start, beginning with `start`."""
    seen = {start: ""}
    parents = own_modules({start}) - {start}
    seen |= dict.fromkeys(parents, start)
    waiting = list(seen)
    while waiting:
        name = waiting.pop()
        for target in _started_by(name) - seen.keys():
            seen[target] = name
            waiting.append(target)
    return seen


@cache
def _started_by(name: str) -> frozenset[str]:
    return frozenset(own_modules(imports_at_start(modules()[name])))


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _executed(child)


def names_of(node: ast.AST) -> set[str]:
    """`from a import b` may name a module a.b or a value in a: both are returned."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        if node.level:
            raise AssertionError(f"line {node.lineno}: write imports in full, not from a dot")
        module = node.module or ""
        return {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return set()
