"""One planted fault: where it goes and who must catch it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Mutant(NamedTuple):
    """A fault that somebody could write without noticing."""

    what: str
    """What is wrong then, in words."""
    file: str
    old: str
    """Stands exactly once in the file."""
    new: str
    tests: str
    """Files or node ids that must catch it, joined by `, `."""

    @property
    def selection(self) -> list[str]:
        """The tests one by one."""
        return self.tests.split(", ")


class StaleError(Exception):
    """A row of the table does not fit the code any more."""


def planted_text(root: Path, mutant: Mutant) -> str:
    """The file with the fault; StaleError unless the old text is there once and the new parses."""
    path = root / mutant.file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if (count := text.count(mutant.old)) != 1:
        raise StaleError(f"{mutant.what}: {mutant.file} has {count} times: {mutant.old!r}")
    after = text.replace(mutant.old, mutant.new)
    if path.suffix == ".py":
        try:
            ast.parse(after)
        except SyntaxError as error:
            raise StaleError(f"{mutant.what}: {mutant.file} is no Python then: {error}") from None
    for test in mutant.selection:
        file, _, name = test.partition("[")[0].partition("::")
        if not (root / file).is_file() or f"def {name}" not in (root / file).read_text("utf-8"):
            raise StaleError(f"{mutant.what}: there is no {test}")
    return after


def stale(root: Path, mutants: Iterable[Mutant]) -> list[str]:
    """What does not fit the code any more, in words."""
    found = []
    for mutant in mutants:
        try:
            planted_text(root, mutant)
        except StaleError as error:
            found.append(str(error))
    return found
