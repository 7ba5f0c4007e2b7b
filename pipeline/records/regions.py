"""Regions: boxes of an image's own pixels, asked for instead of the whole image.

H height, W width, P pixels or cells in reading order, C = 3 colours. Imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.row_bands import row_bands
from pipeline.types import IGNORE

_BOX = re.compile(r"(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})")
DIMMED = 0.6  # of the light outside the regions: what lies there can still be told
FRAME_SHARE = 1 / 300  # of the long side: a line that is seen before anybody zooms in


class Box(NamedTuple):
    """A rectangle of whole pixels; `x` and `y` are its left column and top row, from 0."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        """As files say it: `x,y,w,h`."""
        return ",".join(map(str, self))

    @property
    def num_pixels(self) -> int:
        """Its area."""
        return self.width * self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        """For arrays whose first axes are rows and columns."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def holds(self, other: Box) -> bool:
        """Whether all of the other lies in it."""
        inside_x = self.x <= other.x and other.x + other.width <= self.x + self.width
        return inside_x and self.y <= other.y and other.y + other.height <= self.y + self.height

    def meets(self, other: Box) -> bool:
        """Whether they share a pixel."""
        beside = self.x + self.width <= other.x or other.x + other.width <= self.x
        above = self.y + self.height <= other.y or other.y + other.height <= self.y
        return not (beside or above)


def parse_boxes(text: str, where: str) -> tuple[Box, ...]:
    """`x,y,w,h;x,y,w,h`, or none in ""; DataError begins with `where`."""
    boxes = []
    for part in text.split(";") if text else []:
        found = _BOX.fullmatch(part)
        box = Box(*map(int, found.groups())) if found else Box(0, 0, 0, 0)
        if not box.num_pixels:
            raise DataError(
                f"{where}: regions {text[:80]!r}, expected x,y,w,h in pixels, joined by ';', "
                "none of them empty"
            )
        boxes.append(box)
    return tuple(boxes)


def boxes_text(boxes: Iterable[Box]) -> str:
    """What `parse_boxes` reads."""
    return ";".join(map(str, boxes))


def inside(boxes: Iterable[Box], size: tuple[int, int]) -> NDArray[np.bool_]:
    """inside_HW: the pixels of an image of `size` (height, width) that lie in any of the boxes."""
    inside_HW = np.zeros(size, dtype=np.bool_)
    for box in boxes:
        inside_HW[box.slices] = True
    return inside_HW


def kept_inside(mask_HW: NDArray[np.uint8], boxes: Collection[Box]) -> NDArray[np.uint8]:
    """The mask inside the boxes, IGNORE outside; as it is where there are none."""
    if not boxes:
        return mask_HW
    size = (mask_HW.shape[0], mask_HW.shape[1])
    return np.where(inside(boxes, size), mask_HW, np.uint8(IGNORE))


def framed(image_HWC: NDArray[np.uint8], boxes: Iterable[Box]) -> NDArray[np.uint8]:
    """The image dimmed outside the boxes, with a white line around them; inside as it was.

    The line lies outside, so that no pixel that is asked for is hidden; boxes that touch are one.
    """
    boxes, size = tuple(boxes), (image_HWC.shape[0], image_HWC.shape[1])
    line_px = max(1, round(max(size) * FRAME_SHARE))
    shown_HWC = np.empty_like(image_HWC)
    for rows in row_bands(*size):  # floats take 24 bytes a pixel
        shown_HWC[rows] = image_HWC[rows] * DIMMED
    for reach, grey in ((2 * line_px, 0), (line_px, 255)):  # black around white: seen on snow too
        shown_HWC[inside((_grown(box, reach) for box in boxes), size)] = grey
    inside_HW = inside(boxes, size)
    shown_HWC[inside_HW] = image_HWC[inside_HW]
    return shown_HWC


def _grown(box: Box, reach: int) -> Box:
    """By `reach` pixels on every side; beyond the image's first row and column there are none."""
    left, top = max(0, box.x - reach), max(0, box.y - reach)
    return Box(left, top, box.x + box.width + reach - left, box.y + box.height + reach - top)


@dataclass(frozen=True)
class Grid:
    """Every image cut evenly into `rows` x `columns` regions, whatever its size.

    Regions at the edge are not smaller than the others by more than a pixel.
    """

    rows: int
    columns: int

    @property
    def count(self) -> int:
        """Regions of an image."""
        return self.rows * self.columns

    def region_of(self, size: tuple[int, int]) -> NDArray[np.intp]:
        """region_P: the region in which each of height x width pixels or cells lies."""
        row_H = np.arange(size[0]) * self.rows // size[0]
        column_W = np.arange(size[1]) * self.columns // size[1]
        return (row_H[:, None] * self.columns + column_W).reshape(-1)

    def box(self, region: int, size: tuple[int, int]) -> Box:
        """Where a region lies in an image of `size` (height, width)."""
        row, column = divmod(region, self.columns)
        top, bottom = (_start(at, self.rows, size[0]) for at in (row, row + 1))
        left, right = (_start(at, self.columns, size[1]) for at in (column, column + 1))
        return Box(left, top, right - left, bottom - top)

    def ids(self, sample_id: str) -> list[str]:
        """The ids of an image's regions, in order."""
        return [region_id(sample_id, region, self.columns) for region in range(self.count)]


def region_id(sample_id: str, region: int, columns: int) -> str:
    """`sample_id#row,column`: a candidate of its own."""
    return f"{sample_id}#{region // columns},{region % columns}"


def grid_of(size: tuple[int, int], region_px: int, finest: tuple[int, int]) -> Grid:
    """Regions of about `region_px` x `region_px` in images of `size`; at most `finest` of them."""
    rows, columns = (
        max(1, min(most, round(side / region_px))) for side, most in zip(size, finest, strict=True)
    )
    return Grid(rows, columns)


def _start(part: int, parts: int, length: int) -> int:
    """First pixel of a part, as `i * parts // length` deals pixels out."""
    return -(-part * length // parts)
