"""How image data on disk is read: one file per layout of folders, one row in FORMATS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.data.formats import folder
from pipeline.data.formats.csv_tables import read_classes, read_splits
from pipeline.data.formats.source import Source

__all__ = ["FORMATS", "Source", "read_classes", "read_splits"]

# name -> where the parts of a data set lie under its root
FORMATS: dict[str, Callable[[Path], Source]] = {
    "folder": folder.locate,
}
