"""What a row of the readers says: contents that are valid, and how they are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How a file is read."""

    name: str
    valid: Callable[[], Sequence[bytes]]
    """Contents that it takes, to begin from."""
    read: Callable[[Path], Any]
    """Of the file's path."""
    file: str = "file"
    """Where it lies, relative to an empty folder."""
    named: str | None = ""
    """What errors call it, where that is not the file's name; None = it knows of no file."""
    native: bool = False
    """Whether the work is done outside Python, where coverage is not seen."""


def rows_of(*lines: str) -> Callable[[], list[bytes]]:
    return lambda: [("\n".join(lines) + "\n").encode()]


def json_of(*values: Any) -> Callable[[], list[bytes]]:
    return lambda: [json.dumps(value, indent=1).encode() for value in values]
