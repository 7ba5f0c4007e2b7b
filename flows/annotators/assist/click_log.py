"""What people clicked, one JSON line each, until a tick puts it into the ledger with the answer.

Two files of at most LIMIT_BYTES, the older beside the newer: a campaign that nobody collects fills
no disk. What cannot be written or read is no answer lost: it is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline import layout
from pipeline.clicks.marks import Click, Mark
from pipeline.files import append

LIMIT_BYTES = 2_000_000  # some ten thousand questions


@dataclass(frozen=True, kw_only=True)
class Clicked:
    """One question of a person's: the marks at that moment, and how it was answered."""

    at: str
    """When it came, ISO 8601 in UTC."""
    item_id: str
    task_id: int
    class_name: str
    engine: str
    seconds: float
    """Until the mask was there."""
    on: list[tuple[float, float]]
    """Clicks on the thing: row and column in pixels."""
    beside: list[tuple[float, float]]
    """Clicks on what does not belong to it."""
    boxes: list[tuple[float, float, float, float]]
    """Around it: top, left, bottom, right in pixels."""
    pixels: int
    """Of the mask; 0 where there was none."""


_LINE = TypeAdapter(Clicked)


def marks_as_lists(marks: tuple[Mark, ...]) -> dict[str, list[Any]]:
    """`on`, `beside` and `boxes` of a line."""
    found: dict[str, list[Any]] = {"on": [], "beside": [], "boxes": []}
    for mark in marks:
        if isinstance(mark, Click):
            kind, sides = "on" if mark.positive else "beside", [mark.row, mark.column]
        else:
            kind, sides = "boxes", [mark.top, mark.left, mark.bottom, mark.right]
        found[kind].append(tuple(round(side, 2) for side in sides))
    return found


def now() -> str:
    """The moment, as lines say it: texts sort as the moments do."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def keep_click(root: Path, clicked: Clicked) -> None:
    """Add a line; OSError or DataError where the disk takes none."""
    path = root / layout.CLICKED
    if path.exists() and path.stat().st_size > LIMIT_BYTES:
        path.replace(_older(path))
    append(path, json.dumps(asdict(clicked)).encode() + b"\n")


def kept_clicks(root: Path) -> list[Clicked]:
    """All that can be read, the oldest first."""
    path = root / layout.CLICKED
    return sorted((line for file in (_older(path), path) for line in _lines(file)), key=_moment)


def _lines(path: Path) -> Iterator[Clicked]:
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            yield _LINE.validate_json(line)
        except ValidationError:  # cut off by a full disk or a power cut
            continue


def _moment(clicked: Clicked) -> str:
    return clicked.at


def _older(path: Path) -> Path:
    return path.with_suffix(".1.jsonl")
