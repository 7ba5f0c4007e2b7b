"""A number for every pixel of an image that may be too large to hold them all in memory.

R rows at once, H height, W width.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile, gettempdir
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.files import not_written
from pipeline.records.regions import Box
from pipeline.row_bands import row_bands
from pipeline.uncertainty.scores import Floats

IN_MEMORY = 1 << 26  # bytes: 16 megapixels


class StripOfValues(NamedTuple):
    """Some rows of them."""

    rows: slice
    """Of the box that is looked at."""
    values_RW: Floats


class PixelValues:
    """float32 values_HW, written once from the top to the bottom and read strip by strip.

    Up to 64 MiB stay in memory; more lies in a file without a name, gone with this object.
    """

    def __init__(self, size: tuple[int, int], folder: Path | None = None) -> None:
        """Of `size` (height, width); a file would lie in `folder`, by default the system's."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        place = None if folder is None else str(folder)
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY, dir=place)  # noqa: SIM115 - kept
        self._width = size[1]
        self._box = Box(0, 0, size[1], size[0])

    @classmethod
    def of(cls, values_HW: Floats) -> PixelValues:
        """Values that are there already."""
        found = cls((values_HW.shape[0], values_HW.shape[1]))
        found.append(values_HW)
        return found

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what is looked at."""
        return self._box.height, self._box.width

    def append(self, values_RW: Floats) -> None:
        """The next rows; WorkspaceError when the disk is full."""
        try:
            self._file.write(np.ascontiguousarray(values_RW, dtype=np.float32).tobytes())
        except OSError as error:
            folder = self._folder or Path(gettempdir())
            raise not_written(folder / "scores of pixels", error) from error

    def inside(self, box: Box) -> PixelValues:
        """The same values, of which only those in the box are looked at."""
        found = copy.copy(self)
        found._box = box
        return found

    def strips(self) -> Iterator[StripOfValues]:
        """All rows in order; DataError where they were not all written."""
        for rows in row_bands(self._box.height, self._width):
            yield StripOfValues(rows, self._read(rows))

    def _read(self, rows: slice) -> NDArray[np.float32]:
        row_bytes = self._width * np.float32().nbytes
        count = (rows.stop - rows.start) * row_bytes
        self._file.seek((self._box.y + rows.start) * row_bytes)  # another reader may have moved it
        raw = self._file.read(count)
        if len(raw) != count:
            raise DataError(f"pixel values end in rows {rows.start} to {rows.stop}, expected all")
        values_RW = np.frombuffer(raw, dtype=np.float32).reshape(-1, self._width)
        return values_RW[:, self._box.x : self._box.x + self._box.width]
