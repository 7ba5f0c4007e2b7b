from __future__ import annotations

import math

import pytest

from pipeline.clicks.marks import BoxMark, Click, check_class, check_marks
from pipeline.errors import AnnotationError

SIZE = (20, 30)


@pytest.mark.parametrize("value", [-0.5, math.nan, math.inf])
def test_a_click_is_somewhere(value: float) -> None:
    with pytest.raises(AnnotationError, match=r"row = .*expected a number of pixels"):
        Click(value, 1)
    with pytest.raises(AnnotationError, match="column = "):
        Click(1, value)


def test_a_box_encloses_something() -> None:
    with pytest.raises(AnnotationError, match="encloses nothing"):
        BoxMark(3, 3, 3, 9)
    with pytest.raises(AnnotationError, match="left = "):
        BoxMark(1, -1, 3, 9)


def test_a_click_lies_in_a_pixel_at_the_far_edge_too() -> None:
    assert Click(0, 0).pixel(SIZE) == (0, 0)
    assert Click(4.99, 5.01).pixel(SIZE) == (4, 5)
    assert Click(20, 30).pixel(SIZE) == (19, 29)


def test_a_box_holds_every_pixel_that_it_touches() -> None:
    rows, columns = BoxMark(1.5, 2, 3.2, 4).window(SIZE)
    assert (rows, columns) == (slice(1, 4), slice(2, 4))
    assert BoxMark(19.9, 29.9, 20, 30).window(SIZE) == (slice(19, 20), slice(29, 30))


def test_marks_say_where_the_thing_is() -> None:
    check_marks([Click(1, 1)], SIZE)
    check_marks([BoxMark(1, 1, 5, 5), Click(1, 1, positive=False)], SIZE)
    for marks in ([], [Click(1, 1, positive=False)]):
        with pytest.raises(AnnotationError, match="neither a box nor a positive click"):
            check_marks(marks, SIZE)


def test_marks_lie_in_the_image() -> None:
    for mark in (Click(20.5, 1), Click(1, 30.5), BoxMark(0, 0, 21, 3)):
        with pytest.raises(AnnotationError, match="20 rows and 30 columns"):
            check_marks([mark], SIZE)


def test_an_unknown_class_is_refused_with_the_known_ones() -> None:
    check_class(1, ["sky", "car"])
    for index in (-1, 2):
        with pytest.raises(AnnotationError, match=f"class {index}: expected 0 to 1.*sky, car"):
            check_class(index, ["sky", "car"])
