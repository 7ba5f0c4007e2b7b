"""Folders of small images, as people bring them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data.ingest import IngestSummary, validate_and_stage
from pipeline.errors import DataError
from pipeline.records.manifest import Sample, read_manifest

CLASSES = ("background", "object", "rim")


@dataclass(frozen=True)
class Folder:
    """images/, masks/ and a place to ingest to."""

    root: Path

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def masks(self) -> Path:
        return self.root / "masks"

    @property
    def destination(self) -> Path:
        return self.root / "incoming"

    def image(self, name: str, *, height: int = 6, width: int = 8, **options: object) -> Path:
        """A plain RGB image under images/; its bytes depend on its name."""
        rng = np.random.default_rng(list(name.encode()))
        path = self.images / name
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, **options)
        return path

    def mask(self, name: str, *, height: int = 6, width: int = 8) -> Path:
        """A valid mask with class 1 in its upper half."""
        path = self.masks / name
        indices = np.zeros((height, width), np.uint8)
        indices[: height // 2] = 1
        Image.fromarray(indices).save(path)
        return path

    def splits(self, rows: dict[str, str]) -> Path:
        path = self.root / "splits.csv"
        lines = [f"{sample},{split}" for sample, split in rows.items()]
        path.write_text("\n".join(["id,split", *lines]) + "\n")
        return path


def ingest(folder: Folder, *, name: str = "day", **options: Any) -> IngestSummary:
    return validate_and_stage(
        **{
            "name": name,
            "images": folder.images,
            "masks": folder.masks if any(folder.masks.iterdir()) else None,
            "classes": CLASSES,
            "existing_domains": (),
            "destination": folder.destination,
            **options,
        }
    )


def refused(folder: Folder, **options: Any) -> str:
    """The message of the refusal, after which nothing is left behind."""
    with pytest.raises(DataError) as caught:
        ingest(folder, **options)
    left = [path for path in folder.destination.rglob("*") if path.name != ".lock"]
    assert left == []
    return str(caught.value)


def staged(folder: Folder, name: str = "day") -> dict[str, Sample]:
    rows = read_manifest(folder.destination / name / "samples.csv")
    return {row.sample_id: row for row in rows}
