"""What every engine of click to mask does. H height, W width of the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.clicks.marks import Mark


class MaskEngine(Protocol):
    """Masks from marks; slow work is done once for each image, before anybody clicks."""

    name: str
    """For the ledger and for people: `teacher`, `sam2.1-tiny`."""

    def prepare(self, image: Path) -> None:
        """Look at an image once, and keep on disk what the first click needs.

        Takes seconds; nothing to do where it is kept already. DataError for what is no image.
        """
        ...

    def mask(self, image: Path, marks: Sequence[Mark], class_index: int) -> NDArray[np.bool_]:
        """mask_HW of the thing of class `class_index` that `marks` point to, at the image's size.

        The same marks give the same mask. An image that is not prepared is prepared first.
        AnnotationError for marks outside of the image or that say nowhere that the thing is, and
        for an unknown class.
        """
        ...
