"""The layout `folder`: images/, and beside it masks/, splits.csv and classes.csv if they exist."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.formats.source import Source
from pipeline.errors import DataError


def locate(root: Path) -> Source:
    """The parts of the data set under `root`; DataError without a folder `images`."""
    if not (root / "images").is_dir():
        raise DataError(f"{root / 'images'}: no such folder, expected the images there")
    masks, splits, classes = root / "masks", root / "splits.csv", root / "classes.csv"
    return Source(
        images=root / "images",
        masks=masks if masks.is_dir() else None,
        splits=splits if splits.is_file() else None,
        classes=classes if classes.is_file() else None,
    )
