"""Small patches of an image of nearly one colour, and which of them touch.

Each patch grows from a seed of a regular grid over the cheapest ways, where a step costs what the
colour changes and a little for its length: a compact watershed, or geodesic SLIC. H height, W
width, N patches, P pairs of patches that touch, D values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

STEP_COST = 0.02  # of one pixel, in root colour of [0, 1]: what keeps patches compact
SMOOTHED_PX = 0.7  # sigma: sensor noise is no edge
STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Patches:
    """A partition of an image into connected patches."""

    patch_HW: NDArray[np.int32]
    """The number of each pixel's patch, 0 to N - 1."""
    pair_P2: NDArray[np.int32]
    """Patches that touch, the smaller number first."""
    border_P: Floats
    """How many pairs of neighbouring pixels (of 4) lie on both sides of a pair's border."""

    @property
    def count(self) -> int:
        """N."""
        return int(self.patch_HW.max()) + 1

    def means(self, values_HWD: NDArray[np.floating]) -> Floats:
        """means_ND over each patch of values of its pixels."""
        flat = values_HWD.reshape(self.patch_HW.size, -1)
        patch_M = self.patch_HW.ravel()
        sizes_N = np.bincount(patch_M)
        columns = [np.bincount(patch_M, weights=flat[:, d]) for d in range(flat.shape[1])]
        return (np.stack(columns, axis=1) / sizes_N[:, None]).astype(np.float32)


def grow_patches(image_HWC: NDArray[np.uint8], side_px: float) -> Patches:
    """Patches about `side_px` wide; each is connected."""
    height, width = image_HWC.shape[:2]
    colours = smoothed(image_HWC)
    graph = pixel_graph(colours, STEP_COST)
    seeds = _seeds(colours, side_px)
    _, _, nearest = csgraph.dijkstra(
        graph, directed=False, indices=seeds, min_only=True, return_predecessors=True
    )
    number = np.zeros(height * width, np.int32)
    number[seeds] = np.arange(len(seeds), dtype=np.int32)
    patch_HW = number[nearest].reshape(height, width)
    pair_P2, border_P = _touching(patch_HW, len(seeds))
    return Patches(patch_HW, pair_P2, border_P)


def smoothed(image_HWC: NDArray[np.uint8]) -> Floats:
    """Root colours in [0, 1], in which steps look about alike in dark and light."""
    roots = np.sqrt(image_HWC.astype(np.float32) / 255)
    return ndimage.gaussian_filter(roots, (SMOOTHED_PX, SMOOTHED_PX, 0))


def pixel_graph(colours_HWC: Floats, step_cost: float) -> sparse.csr_array:
    """Costs between the 8 neighbours of each pixel, each pair once."""
    height, width = colours_HWC.shape[:2]
    number = np.arange(height * width, dtype=np.int32).reshape(height, width)
    costs, ones, others = [], [], []
    for down, right in STEPS:
        here, there = neighbours((height, width), down, right)
        change = np.sqrt(np.square(colours_HWC[here] - colours_HWC[there]).sum(-1))
        costs.append((change + step_cost * np.hypot(down, right)).ravel())
        ones.append(number[here].ravel())
        others.append(number[there].ravel())
    return sparse.coo_array(
        (np.concatenate(costs), (np.concatenate(ones), np.concatenate(others))),
        shape=(number.size, number.size),
    ).tocsr()


def neighbours(
    size: tuple[int, int], down: int, right: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where pixels lie that have a neighbour so far `down` (0 or more) and `right`, and where
    those neighbours lie."""
    height, width = size
    rows, columns = slice(0, height - down), slice(max(0, -right), width - max(0, right))
    there = slice(down, height), slice(max(0, right), width + min(0, right))
    return (rows, columns), there


def _seeds(colours_HWC: Floats, side_px: float) -> NDArray[np.intp]:
    """Flat places: of each cell of a grid the middle, moved to where the colour changes least."""
    height, width = colours_HWC.shape[:2]
    edge_HW = ndimage.gaussian_gradient_magnitude(colours_HWC.mean(-1), SMOOTHED_PX)
    rows = _middles(height, side_px)
    columns = _middles(width, side_px)
    row, column = (each.ravel() for each in np.meshgrid(rows, columns, indexing="ij"))
    best_row, best_column = row.copy(), column.copy()
    reach = int(side_px // 4)
    least = edge_HW[row, column]
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            other = (row + down).clip(0, height - 1), (column + right).clip(0, width - 1)
            better = edge_HW[other] < least
            best_row[better], best_column[better] = other[0][better], other[1][better]
            least = np.minimum(least, edge_HW[other])
    return np.unique(best_row * width + best_column)


def _middles(length: int, side_px: float) -> NDArray[np.intp]:
    count = max(1, round(length / side_px))
    return ((np.arange(count) + 0.5) * length / count).astype(np.intp)


def _touching(patch_HW: NDArray[np.int32], count: int) -> tuple[NDArray[np.int32], Floats]:
    found = []
    for down, right in STEPS[:2]:
        here, there = neighbours(patch_HW.shape, down, right)  # type: ignore[arg-type]
        one, other = patch_HW[here].ravel(), patch_HW[there].ravel()
        apart = one != other
        low, high = np.minimum(one, other)[apart], np.maximum(one, other)[apart]
        found.append(low.astype(np.int64) * count + high)
    key, border = np.unique(np.concatenate(found), return_counts=True)
    pairs = np.stack([key // count, key % count], axis=1).astype(np.int32)
    return pairs, border.astype(np.float32)
