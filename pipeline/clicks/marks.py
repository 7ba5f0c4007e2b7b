"""What an annotator says of one thing in an image: clicks on it and beside it, a box around it.

Rows count from the top and columns from the left, in pixels of the image as it is shown upright;
the first pixel reaches from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.errors import AnnotationError


@dataclass(frozen=True)
class Click:
    """A point that belongs to the thing, or, where it is not `positive`, that does not."""

    row: float
    column: float
    positive: bool = True

    def __post_init__(self) -> None:
        """AnnotationError for a place that is no finite number of at least 0."""
        _refuse(self, row=self.row, column=self.column)

    def pixel(self, size: tuple[int, int]) -> tuple[int, int]:
        """Row and column of the pixel of an image of `size` (height, width) that it lies in."""
        return min(int(self.row), size[0] - 1), min(int(self.column), size[1] - 1)


@dataclass(frozen=True)
class BoxMark:
    """The thing lies within: at and below `top`, above `bottom`, and so on."""

    top: float
    left: float
    bottom: float
    right: float

    def __post_init__(self) -> None:
        """AnnotationError for sides that are no numbers of at least 0, or enclose nothing."""
        _refuse(self, top=self.top, left=self.left, bottom=self.bottom, right=self.right)
        if self.bottom <= self.top or self.right <= self.left:
            raise AnnotationError(
                f"{self}: encloses nothing; expected bottom > top and right > left"
            )

    def window(self, size: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of an image of `size` that it touches; at least one pixel."""
        first = (min(int(self.top), size[0] - 1), min(int(self.left), size[1] - 1))
        end = (min(math.ceil(self.bottom), size[0]), min(math.ceil(self.right), size[1]))
        return slice(first[0], max(end[0], first[0] + 1)), slice(
            first[1], max(end[1], first[1] + 1)
        )


Mark = Click | BoxMark
Box = BoxMark  # what callers write; a box of a region is another thing (records/regions.py)


def check_marks(marks: Iterable[Mark], size: tuple[int, int]) -> None:
    """AnnotationError unless the marks say where the thing is, inside an image of `size`.

    A positive click or a box is needed: clicks beside a thing alone do not say where it is.
    """
    places = False
    for mark in marks:
        corner = (mark.row, mark.column) if isinstance(mark, Click) else (mark.bottom, mark.right)
        if corner[0] > size[0] or corner[1] > size[1]:
            raise AnnotationError(
                f"{mark}: outside of the image, which has {size[0]} rows and {size[1]} columns"
            )
        places |= isinstance(mark, BoxMark) or mark.positive
    if not places:
        raise AnnotationError(
            "marks: neither a box nor a positive click, expected at least one; click on the thing"
        )


def check_class(class_index: int, classes: Sequence[str]) -> None:
    """AnnotationError unless there is a class of this number."""
    if not 0 <= class_index < len(classes):
        raise AnnotationError(
            f"class {class_index}: expected 0 to {len(classes) - 1}, one of {', '.join(classes)}"
        )


def _refuse(mark: Mark, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise AnnotationError(
                f"{type(mark).__name__}: {name} = {value!r}: expected a number of pixels, 0 or more"
            )
