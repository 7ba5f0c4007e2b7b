"""Somebody who clicks where a mask is most wrong, and knows the truth: for tests and benchmarks.

The usual protocol of interactive segmentation (Sofiiuk et al. 2021, section 4): the largest wrong
area is clicked at the point that lies deepest in it. Nothing is drawn: equal inputs, equal clicks.
H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.clicks.marks import BoxMark, Click

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TrueThing:
    """A connected area of one class in a true mask."""

    class_index: int
    area_HW: Bools


def things_of(truth_HW: NDArray[np.uint8], class_index: int, least_px: int = 1) -> list[TrueThing]:
    """The connected areas (8 neighbours) of a class, the largest first; `least_px` pixels each."""
    part_HW, count = ndimage.label(truth_HW == class_index, np.ones((3, 3)))
    sizes = np.bincount(part_HW.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    return [TrueThing(class_index, part_HW == k + 1) for k in order if sizes[k] >= least_px]


def next_click(found_HW: Bools, thing_HW: Bools, known_HW: Bools | None = None) -> Click | None:
    """Where the largest wrong area is deepest; positive where something of the thing is missing.

    None where nothing is wrong. What is not `known` is never wrong.
    """
    wrong_HW = found_HW != thing_HW
    if known_HW is not None:
        wrong_HW = wrong_HW & known_HW
    sides = [_deepest(wrong_HW & thing_HW), _deepest(wrong_HW & ~thing_HW)]
    missing, surplus = sides
    if missing is None and surplus is None:
        return None
    positive = surplus is None or (missing is not None and missing.size >= surplus.size)
    best = missing if positive else surplus
    assert best is not None  # one of them is
    return Click(best.row + 0.5, best.column + 0.5, positive)


def box_around(thing_HW: Bools) -> BoxMark:
    """The smallest box with every pixel of the thing."""
    rows, columns = np.flatnonzero(thing_HW.any(1)), np.flatnonzero(thing_HW.any(0))
    return BoxMark(float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1))


def iou(found_HW: Bools, thing_HW: Bools, known_HW: Bools | None = None) -> float:
    """Intersection over union, of what is known; 1 where both are empty."""
    both, either = found_HW & thing_HW, found_HW | thing_HW
    if known_HW is not None:
        both, either = both & known_HW, either & known_HW
    union = int(np.count_nonzero(either))
    return int(np.count_nonzero(both)) / union if union else 1.0


@dataclass(frozen=True)
class _Deepest:
    size: int
    row: int
    column: int


def _deepest(wrong_HW: Bools) -> _Deepest | None:
    """Of the largest connected area: its pixels, and the one farthest from its border."""
    part_HW, count = ndimage.label(wrong_HW)
    if not count:
        return None
    sizes = np.bincount(part_HW.ravel())
    sizes[0] = 0
    largest = int(sizes.argmax())
    window = ndimage.find_objects(part_HW, max_label=largest)[largest - 1]
    # The image's border is one of the area's: nobody clicks at the very edge.
    inside = np.pad(part_HW[window] == largest, 1)
    depth = ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return _Deepest(int(sizes[largest]), int(row) + window[0].start, int(column) + window[1].start)
