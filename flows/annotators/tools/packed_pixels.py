"""Which pixels of an image a region has, eight of them in a byte: an answer has many regions.

H height, W width, R some rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

PIXELS_AT_ONCE = 1 << 22

Bools = npt.NDArray[np.bool_]


class PackedPixels:
    """pixels_HW of yes and no."""

    def __init__(self, pixels_HW: Bools) -> None:
        """A copy of them."""
        self.size = (pixels_HW.shape[0], pixels_HW.shape[1])
        self._packed = np.packbits(pixels_HW, axis=1)

    def __len__(self) -> int:
        """How many there are."""
        return sum(int(np.count_nonzero(self.rows(rows))) for rows in strips(self.size))

    def rows(self, rows: slice) -> Bools:
        """pixels_RW."""
        return np.unpackbits(self._packed[rows], axis=1, count=self.size[1]).view(np.bool_)

    def same_as(self, other: PackedPixels) -> bool:
        """Whether the same pixels are in both."""
        return self.size == other.size and np.array_equal(self._packed, other._packed)

    def within(self, other: PackedPixels) -> bool:
        """Whether all of them are in the other, of an image of the same size."""
        return not (self._packed & ~other._packed).any()


def strips(size: tuple[int, int]) -> Iterator[slice]:
    """The rows of an image of `size` (height, width), some at a time."""
    step = max(1, PIXELS_AT_ONCE // max(1, size[1]))
    return (slice(first, min(first + step, size[0])) for first in range(0, size[0], step))
