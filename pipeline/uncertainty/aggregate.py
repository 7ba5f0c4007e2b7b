"""One number per image from the uncertainty of its pixels, in [0, 1] where that is.

Means, so that the number does not grow with the image, and comparable between images: nothing is
stretched to an image's own range. Values are read in strips, some of them twice: of a large image
they do not fit in memory. R rows of a strip, H height, W width, N counted pixels of a strip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from pipeline.row_bands import row_bands
from pipeline.types import MAX_CLASSES
from pipeline.uncertainty.pixel_values import PixelValues
from pipeline.uncertainty.scores import Floats

BOUNDARY_SHARE = 0.0075  # of the diagonal: 4.5 pixels at 360x480
WINDOW_SHARE = 1 / 8  # of the height and of the width
AT_ONCE = 1 << 18  # pixels that are sorted out in memory; counting bits takes 1 ms of any image


@dataclass(frozen=True, kw_only=True, eq=False)
class Scope:
    """Which pixels of an image count, and how."""

    classes_HW: NDArray[np.uint8]
    """The likeliest."""
    counts_HW: NDArray[np.bool_]
    """At least one pixel."""
    top_share: float
    """Of the counted pixels, the most uncertain that `top_mean` looks at; in (0, 1]."""


def scope_of(classes_HW: NDArray[np.uint8], *, top_share: float, exclude_boundaries: bool) -> Scope:
    """All pixels; or those away from the predicted boundaries, where there are any.

    At boundaries a model is unsure because masks are: a label there teaches it little.
    """
    counts_HW = np.ones(classes_HW.shape, dtype=bool)
    if exclude_boundaries:
        inside_HW = ~near_boundaries(classes_HW)
        counts_HW = inside_HW if inside_HW.any() else counts_HW
    return Scope(classes_HW=classes_HW, counts_HW=counts_HW, top_share=top_share)


def mean(values: PixelValues, scope: Scope) -> float:
    """Over the counted pixels; small objects hardly show."""
    total = sum(values_N.sum(dtype=np.float64) for values_N in _counted(values, scope))
    return float(total / np.count_nonzero(scope.counts_HW))


def top_mean(values: PixelValues, scope: Scope) -> float:
    """Mean of the largest `top_share` of the counted pixels, at least one."""
    count = max(1, round(scope.top_share * np.count_nonzero(scope.counts_HW)))
    strips: Iterable[Floats]
    if math.prod(values.shape) <= AT_ONCE:
        strips = [np.concatenate(list(_counted(values, scope)))]
        least = np.partition(strips[0], -count)[-count]
    else:
        strips = _counted(values, scope)
        least = _largest(values, scope, count)
    larger = [values_N[values_N > least] for values_N in strips]
    ties = count - sum(each.size for each in larger)
    total = sum(float(each.sum(dtype=np.float64)) for each in larger)
    return (total + ties * float(least)) / count


def window_max(values: PixelValues, scope: Scope) -> float:
    """The largest mean over a window of 1/8 of the height and width; finds one unsure object.

    Windows count where at least half of their pixels do; the mean of all where none is so.
    """
    height, width = (max(1, round(side * WINDOW_SHARE)) for side in values.shape)

    def counted() -> Iterator[NDArray[np.generic]]:
        return (np.where(scope.counts_HW[rows], strip, 0) for rows, strip in values.strips())

    def counts() -> Iterator[NDArray[np.generic]]:
        return (scope.counts_HW[rows] for rows, _ in values.strips())

    largest = -math.inf
    for sizes_W, sums_W in zip(
        _box_sums(counts, height, width), _box_sums(counted, height, width), strict=True
    ):
        full_W = sizes_W >= height * width / 2
        if full_W.any():
            largest = max(largest, float((sums_W[full_W] / sizes_W[full_W]).max()))
    return largest if math.isfinite(largest) else mean(values, scope)


def class_balanced(values: PixelValues, scope: Scope) -> float:
    """Mean over the predicted classes of the mean over their counted pixels."""
    sizes_K, sums_K = np.zeros(MAX_CLASSES + 1), np.zeros(MAX_CLASSES + 1)
    for rows, values_RW in values.strips():
        counts_RW = scope.counts_HW[rows]
        classes_N = scope.classes_HW[rows][counts_RW]
        sizes_K += np.bincount(classes_N, minlength=len(sizes_K))
        sums_K += np.bincount(classes_N, weights=values_RW[counts_RW], minlength=len(sums_K))
    return float((sums_K[sizes_K > 0] / sizes_K[sizes_K > 0]).mean())


AGGREGATES: dict[str, Callable[[PixelValues, Scope], float]] = {
    "class_balanced": class_balanced,
    "mean": mean,
    "top_mean": top_mean,
    "window_max": window_max,
}


def near_boundaries(classes_HW: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels within 0.75 % of the diagonal of another predicted class, in rows and columns."""
    edge_HW = np.zeros(classes_HW.shape, dtype=bool)
    down_HW = classes_HW[1:] != classes_HW[:-1]
    edge_HW[1:] |= down_HW
    edge_HW[:-1] |= down_HW
    del down_HW
    right_HW = classes_HW[:, 1:] != classes_HW[:, :-1]
    edge_HW[:, 1:] |= right_HW
    edge_HW[:, :-1] |= right_HW
    del right_HW
    radius = round(BOUNDARY_SHARE * math.hypot(*classes_HW.shape))
    side = 2 * radius + 1

    def edges() -> Iterator[NDArray[np.generic]]:
        above_RW = np.zeros((radius, edge_HW.shape[1] + 2 * radius), dtype=bool)
        yield above_RW
        for rows in row_bands(*edge_HW.shape):
            yield np.pad(edge_HW[rows], ((0, 0), (radius, radius)))
        yield above_RW

    near_HW = np.empty_like(edge_HW)
    for row, sums_W in enumerate(_box_sums(edges, side, side)):
        near_HW[row] = sums_W > 0
    return near_HW


def _counted(values: PixelValues, scope: Scope) -> Iterator[Floats]:
    return (values_RW[scope.counts_HW[rows]] for rows, values_RW in values.strips())


def _largest(values: PixelValues, scope: Scope, count: int) -> np.float32:
    """The `count`-th largest of the counted values, none of them below 0.

    A radix selection: as whole numbers their bits have the same order, so the upper half of them
    is counted first, then the lower half of those that share the upper one.
    """
    upper, lower = np.zeros(1 << 16, dtype=np.int64), np.zeros(1 << 16, dtype=np.int64)
    for bits_N in map(_bits, _counted(values, scope)):
        upper += np.bincount(bits_N >> 16, minlength=len(upper))
    high, left = _from_the_top(upper, count)
    for bits_N in map(_bits, _counted(values, scope)):
        lower += np.bincount(bits_N[bits_N >> 16 == high] & 0xFFFF, minlength=len(lower))
    low, _ = _from_the_top(lower, left)
    return np.uint32(high << 16 | low).view(np.float32)


def _bits(values_N: Floats) -> NDArray[np.uint32]:
    return (values_N + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0


def _from_the_top(counts: NDArray[np.int64], count: int) -> tuple[int, int]:
    """The bin that holds the `count`-th from the top, and which one it is in that bin."""
    from_top = counts[::-1].cumsum()
    place = int(np.searchsorted(from_top, count))
    before = int(from_top[place - 1]) if place else 0
    return len(counts) - 1 - place, count - before


def _box_sums(
    strips: Callable[[], Iterable[NDArray[np.generic]]], height: int, width: int
) -> Iterator[NDArray[np.float64]]:
    """Sums over every window of this size inside, row by row from the top.

    `strips` gives an image's rows from the start; the time does not grow with the window.
    """
    above = _integral(strips())
    below = islice(_integral(strips()), height, None)
    for above_W, below_W in zip(above, below, strict=False):  # the last windows end with `below`
        found_W: NDArray[np.float64] = below_W[width:] - above_W[width:]
        yield found_W - below_W[:-width] + above_W[:-width]


def _integral(strips: Iterable[NDArray[np.generic]]) -> Iterator[NDArray[np.float64]]:
    """sums_W for 0, 1, ... rows: of all above and left of each of the W + 1 columns' borders."""
    last_W: NDArray[np.float64] | None = None
    for values_RW in strips:
        if last_W is None:
            last_W = np.zeros(values_RW.shape[1])
            yield np.zeros(values_RW.shape[1] + 1)
        columns_RW = np.cumsum(np.vstack([last_W, values_RW]), axis=0)
        last_W = columns_RW[-1]
        sums_RW = np.zeros((len(values_RW), values_RW.shape[1] + 1))
        np.cumsum(columns_RW[1:], axis=1, out=sums_RW[:, 1:])
        yield from sums_RW
