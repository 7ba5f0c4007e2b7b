"""The class names under which the masks were painted, kept beside them in `data/classes.csv`.

A mask holds numbers. What they mean is said by the order of names in params.yaml, and by nothing in
the mask: names that were swapped since would train on one class and call it another.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

from pipeline import layout
from pipeline.config.params import Params
from pipeline.data.formats.csv_tables import read_classes
from pipeline.errors import ConfigError
from pipeline.files import write_text
from pipeline.records.manifest import read_manifest


def write_classes(path: Path, names: Sequence[str]) -> None:
    """As `read_classes` reads them; equal names are equal files."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("index", "name"), *enumerate(names)])
    write_text(path, text.getvalue())


def require_painted(root: Path, params: Params) -> None:
    """ConfigError where masks of the workspace were painted under other names; needs no git."""
    listed = root / layout.CLASSES
    if listed.exists() and any(s.mask for s in read_manifest(root / layout.MANIFEST)):
        require_same(read_classes(listed), params.classes)


def require_same(painted: Sequence[str], now: Sequence[str]) -> None:
    """ConfigError naming what changed, unless classes were appended at most."""
    if tuple(now[: len(painted)]) == tuple(painted):
        return
    raise ConfigError(
        f"params.yaml: classes changed since masks were painted: {_changes(painted, now)}. Masks "
        "hold numbers, so each would now mean another class. Put them back, in this order: "
        f"[{', '.join(painted)}]; others may follow at the end. For other classes make a new "
        "workspace"
    )


def _changes(painted: Sequence[str], now: Sequence[str]) -> str:
    """In words, by what was said of each index."""
    if sorted(painted) == sorted(now):
        moved = [
            f"{name} was {painted.index(name)} and is {now.index(name)}"
            for name in painted
            if painted.index(name) != now.index(name)
        ]
        return "; ".join(moved)
    said = []
    for kind, a, b, c, d in SequenceMatcher(None, painted, now, autojunk=False).get_opcodes():
        old, new = ", ".join(painted[a:b]), ", ".join(now[c:d])
        if kind == "replace":
            said.append(f"{old} became {new}")
        elif kind == "delete":
            said.append(f"{old} was removed")
        elif kind == "insert":
            before = f" before {painted[a]}" if a < len(painted) else " at the end"
            said.append(f"{new} was inserted{before}")
    return "; ".join(said)
