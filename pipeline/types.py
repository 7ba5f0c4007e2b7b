"""Words shared by every package: sizes, splits, the ignore index. Imports nothing heavy.

Shape suffixes: B images, C channels, K classes, H height, W width, D embedding.
"""

from __future__ import annotations

from typing import Literal

IGNORE = 255  # pixels without a label; uint8's last value, so at most 255 classes
MAX_CLASSES = IGNORE
UNKNOWN = "unknown"  # what people call pixels of which nobody can tell the class
MOST_MEGAPIXELS = 500.0  # of any image that is read: 3.5 GB then, at 7 bytes a pixel

Split = Literal["pool", "val", "test"]
Origin = Literal["", "annotated", "ground_truth"]  # "" = no mask

SPLITS: tuple[Split, ...] = ("pool", "val", "test")
# What a splits file may say: `labelled` = pool with its mask known from the start.
INGEST_SPLITS = ("labelled", "pool", "val", "test")
STRIDE_PX = 32  # the deepest of all encoders: what a network sees has sides of so many pixels
