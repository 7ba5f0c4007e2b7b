"""Formats that data are written in for other tools: one file and one row each.

The contract of the table is tests/contracts/test_exports.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.exports.coco import write_coco
from pipeline.data.exports.export_set import (
    Advance,
    ExportSample,
    ExportSet,
    IouLost,
    export_set,
)
from pipeline.data.exports.index_png import write_index_png
from pipeline.data.exports.pascal_voc import write_pascal_voc
from pipeline.data.exports.yolo_seg import write_yolo_seg

__all__ = ["EXPORTS", "ExportFormat", "ExportSample", "ExportSet", "IouLost", "export_set"]


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """How data are written."""

    build: Callable[[ExportSet, Path, Advance], IouLost]
    """Into a folder that is free; what it loses, nothing where it is lossless."""
    lossless: bool
    """Whether every pixel of every mask, ignored ones too, can be read back."""


EXPORTS: dict[str, ExportFormat] = {
    "index-png": ExportFormat(build=write_index_png, lossless=True),
    "coco": ExportFormat(build=write_coco, lossless=True),
    "pascal-voc": ExportFormat(build=write_pascal_voc, lossless=True),
    "yolo-seg": ExportFormat(build=write_yolo_seg, lossless=False),
}
