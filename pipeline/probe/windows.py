"""What one asks for: whole images, or windows of them.

N images, W windows of an image, P cells of an image, D features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.models.probe import CELL_PX
from pipeline.records.regions import Grid, grid_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """An image's cells dealt out to windows of about equal size."""

    window_P: NDArray[np.intp]
    """The window that each cell lies in."""
    columns: int
    """Windows side by side; window w is in row w // columns."""
    cells: tuple[int, int]
    """Rows and columns of an image's cells."""

    @property
    def count(self) -> int:
        """W."""
        return int(self.window_P[-1]) + 1

    def means(self, values_NP: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over each window of NxP or NxPxD values: NxW or NxWxD."""
        order = np.argsort(self.window_P, kind="stable")
        starts = np.searchsorted(self.window_P[order], np.arange(self.count))
        sums = np.add.reduceat(values_NP[:, order], starts, axis=1)
        sizes_W = np.bincount(self.window_P)
        return sums / (sizes_W if values_NP.ndim == 2 else sizes_W[:, None])


def windows_of(size: tuple[int, int], region_px: int | None) -> Windows:
    """Windows of about `region_px` x `region_px` in images of `size`; None: the whole image.

    The image is cut evenly, at cells' borders, so windows at its edge are not smaller.
    """
    cells = (size[0] // CELL_PX, size[1] // CELL_PX)
    grid = Grid(1, 1) if region_px is None else grid_of(size, region_px, cells)
    return Windows(window_P=grid.region_of(cells), columns=grid.columns, cells=cells)
