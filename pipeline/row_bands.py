"""Large arrays a band of rows at a time, so that what is computed on the way stays small."""

from __future__ import annotations

from collections.abc import Iterator

PIXELS_AT_ONCE = 1 << 20


def row_bands(height: int, width: int) -> Iterator[slice]:
    """Slices of the rows 0..height-1 in order, each of at most PIXELS_AT_ONCE pixels.

    A row is never cut: of wider images each band is one row. Counting rows alone would not do: an
    image of 4 x 16,000,000 pixels is one band then, and its copies take 15 bytes a pixel.
    """
    step = max(1, PIXELS_AT_ONCE // max(1, width))
    for first in range(0, height, step):
        yield slice(first, min(first + step, height))
