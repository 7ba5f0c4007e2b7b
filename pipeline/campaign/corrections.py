"""Correcting a pre-annotation where it is wrong: which acts of a person, and what they label.

What is corrected is labelled, what is not stays unlabelled: the largest wrong area first, one act
each. H height, W width, in pixels or in cells of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.types import IGNORE

Mask = NDArray[np.uint8]
Act = Literal["click", "stroke"]


class Correction(NamedTuple):
    """One act: its class, and the pixels that it labels."""

    class_index: int
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]


class _Area(NamedTuple):
    """A connected area of one true class where something else is shown."""

    class_index: int
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]


def corrections_of(shown_HW: Mask, truth_HW: Mask, most: int, act: Act) -> list[Correction]:
    """What a person who knows `truth_HW` corrects of `shown_HW`, at most `most` areas.

    A wrong area is connected (4 neighbours) and of one true class; the largest comes first, of
    equal ones that of the lower class, then the upper. A click labels the pixel farthest from the
    area's edge; a stroke the straight line through it as far as the area goes, the longer of across
    and down. Nobody corrects where the truth is IGNORE; where nothing is shown (IGNORE) all else is
    wrong. DataError unless both masks are of one size.
    """
    if shown_HW.shape != truth_HW.shape or shown_HW.ndim != 2:
        raise DataError(
            f"shown {shown_HW.shape}, true {truth_HW.shape}: expected two masks [H, W] of one size"
        )
    areas = _wrong_areas(shown_HW, truth_HW)
    areas.sort(key=lambda area: -len(area.rows))  # stable: ties stay in the order of classes
    return [_corrected(area, act) for area in areas[:most]]


def only_corrected(answer_HW: Mask, shown_HW: Mask) -> Mask:
    """The answer where it differs from what was shown; IGNORE elsewhere.

    What was erased and not painted again says nothing: IGNORE as well.
    """
    if answer_HW.shape != shown_HW.shape:
        raise DataError(
            f"answer of {answer_HW.shape} to a pre-annotation of {shown_HW.shape}: expected one "
            "size (height, width)"
        )
    return np.where(answer_HW != shown_HW, answer_HW, np.uint8(IGNORE))


def apply_to(mask_HW: Mask, done: Sequence[Correction]) -> None:
    """Write the labels of these corrections into a mask."""
    for one in done:
        mask_HW[one.rows, one.columns] = one.class_index


def _wrong_areas(shown_HW: Mask, truth_HW: Mask) -> list[_Area]:
    from scipy.ndimage import find_objects, label  # a tick that corrects nothing does without

    wrong_HW = (shown_HW != truth_HW) & (truth_HW != IGNORE)
    found: list[_Area] = []
    for index in np.unique(truth_HW[wrong_HW]):
        number_HW, _ = label(wrong_HW & (truth_HW == index))
        for number, box in enumerate(find_objects(number_HW), start=1):
            rows, columns = np.nonzero(number_HW[box] == number)
            found.append(_Area(int(index), rows + box[0].start, columns + box[1].start))
    return found


def _corrected(area: _Area, act: Act) -> Correction:
    from scipy.ndimage import distance_transform_cdt

    top, left = area.rows.min(), area.columns.min()
    # A border of what does not belong to it, so that the image's edge is an edge of the area.
    size = (area.rows.max() - top + 3, area.columns.max() - left + 3)
    inside_HW = np.zeros(size, dtype=bool)
    inside_HW[area.rows - top + 1, area.columns - left + 1] = True
    depth_HW = distance_transform_cdt(inside_HW, metric="taxicab")
    row, column = np.unravel_index(int(depth_HW.argmax()), size)
    rows, columns = np.array([row]), np.array([column])
    if act == "stroke":
        across, down = _run(inside_HW[row], int(column)), _run(inside_HW[:, column], int(row))
        if len(across) >= len(down):
            rows, columns = np.full(len(across), row), across
        else:
            rows, columns = down, np.full(len(down), column)
    return Correction(area.class_index, rows + top - 1, columns + left - 1)


def _run(inside: NDArray[np.bool_], at: int) -> NDArray[np.intp]:
    """Places of the unbroken run through `at`; both ends of `inside` are outside."""
    outside = np.flatnonzero(~inside)
    after = int(np.searchsorted(outside, at))
    return np.arange(outside[after - 1] + 1, outside[after])
