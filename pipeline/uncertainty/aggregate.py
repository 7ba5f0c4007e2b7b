"""One number per image from the uncertainty of its pixels, in [0, 1] where that is.

Means, so that the number does not grow with the image, and comparable between images: nothing is
stretched to an image's own range. H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.uncertainty.scores import Floats

BOUNDARY_SHARE = 0.0075  # of the diagonal: 4.5 pixels at 360x480
WINDOW_SHARE = 1 / 8  # of the height and of the width


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


def mean(values_HW: Floats, scope: Scope) -> float:
    """Over the counted pixels; small objects hardly show."""
    return float(values_HW[scope.counts_HW].mean(dtype=np.float64))


def top_mean(values_HW: Floats, scope: Scope) -> float:
    """Mean of the largest `top_share` of the counted pixels, at least one."""
    values_N = values_HW[scope.counts_HW]
    count = max(1, round(scope.top_share * values_N.size))
    return float(np.partition(values_N, -count)[-count:].mean(dtype=np.float64))


def window_max(values_HW: Floats, scope: Scope) -> float:
    """The largest mean over a window of 1/8 of the height and width; finds one unsure object.

    Windows count where at least half of their pixels do; the mean of all where none is so.
    """
    height, width = (max(1, round(side * WINDOW_SHARE)) for side in values_HW.shape)
    sizes = _box_sums(scope.counts_HW, height, width)
    sums = _box_sums(np.where(scope.counts_HW, values_HW, 0), height, width)
    full = sizes >= height * width / 2
    return float((sums[full] / sizes[full]).max()) if full.any() else mean(values_HW, scope)


def class_balanced(values_HW: Floats, scope: Scope) -> float:
    """Mean over the predicted classes of the mean over their counted pixels."""
    classes_N = scope.classes_HW[scope.counts_HW]
    sizes_K = np.bincount(classes_N)
    sums_K = np.bincount(classes_N, weights=values_HW[scope.counts_HW])
    return float((sums_K[sizes_K > 0] / sizes_K[sizes_K > 0]).mean())


AGGREGATES: dict[str, Callable[[Floats, Scope], float]] = {
    "class_balanced": class_balanced,
    "mean": mean,
    "top_mean": top_mean,
    "window_max": window_max,
}


def near_boundaries(classes_HW: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels within 0.75 % of the diagonal of another predicted class, in rows and columns."""
    edge_HW = np.zeros(classes_HW.shape, dtype=bool)
    down, right = np.diff(classes_HW, axis=0) != 0, np.diff(classes_HW, axis=1) != 0
    edge_HW[1:] |= down
    edge_HW[:-1] |= down
    edge_HW[:, 1:] |= right
    edge_HW[:, :-1] |= right
    radius = round(BOUNDARY_SHARE * math.hypot(*classes_HW.shape))
    side = 2 * radius + 1
    near_HW: NDArray[np.bool_] = _box_sums(np.pad(edge_HW, radius), side, side) > 0
    return near_HW


def _box_sums(values_HW: NDArray[np.generic], height: int, width: int) -> NDArray[np.float64]:
    """Sums over every window of this size inside, in a time that does not grow with it."""
    sums = np.zeros((values_HW.shape[0] + 1, values_HW.shape[1] + 1))
    np.cumsum(values_HW, axis=0, out=sums[1:, 1:])
    np.cumsum(sums, axis=1, out=sums)
    found: NDArray[np.float64] = (
        sums[height:, width:]
        - sums[:-height, width:]
        - sums[height:, :-width]
        + sums[:-height, :-width]
    )
    return found
