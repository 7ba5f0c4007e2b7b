"""Folders of small images, as people bring them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

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
