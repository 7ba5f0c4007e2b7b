"""Shapes as pixels, against plain loops over pixel centres."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flows.annotators.tools.shapes import ellipse_pixels, polygon_pixels, shape_pixels
from pipeline.errors import AnnotationError

SIZE = (13, 17)
# With odd thousandths no centre lies on an outline, where loops and scanlines may round apart.
PLACES = st.integers(-4000, 21000).map(lambda number: (2 * number + 1) / 2001)
SIDES = st.integers(1, 14000).map(lambda number: (2 * number + 1) / 2003)
ANGLES = st.floats(-400, 400)


def by_loops(is_in: Any, size: tuple[int, int] = SIZE) -> np.ndarray:
    pixels_HW = np.zeros(size, dtype=bool)
    for row in range(size[0]):
        for column in range(size[1]):
            pixels_HW[row, column] = is_in(column + 0.5, row + 0.5)
    return pixels_HW


def winding(points: list[tuple[float, float]], x: float, y: float) -> int:
    """How often an outline goes around a place, by the angles under which its edges are seen."""
    total = 0.0
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        turn = math.atan2(y1 - y, x1 - x) - math.atan2(y0 - y, x0 - x)
        total += (turn + math.pi) % (2 * math.pi) - math.pi
    return round(total / (2 * math.pi))


def meets_a_centre(points: list[tuple[float, float]]) -> bool:
    """Whether an edge's line goes through a pixel's centre, so that rounding says on which side."""
    edges = zip(points, [*points[1:], points[0]], strict=True)
    return any(
        abs((x1 - x0) * (row + 0.5 - y0) - (y1 - y0) * (column + 0.5 - x0)) < 1e-9
        for (x0, y0), (x1, y1) in edges
        if (x0, y0) != (x1, y1)
        for row in range(SIZE[0])
        for column in range(SIZE[1])
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(PLACES, PLACES), min_size=1, max_size=9))
def test_a_polygon_is_what_its_outline_winds_around(points: list[tuple[float, float]]) -> None:
    """Crossing itself, partly outside, of one point or two: the nonzero winding rule."""
    assume(not meets_a_centre(points))
    expected = by_loops(lambda x, y: winding(points, x, y) != 0)
    np.testing.assert_array_equal(polygon_pixels(np.array(points), SIZE), expected)


def percent(x: float, y: float) -> tuple[float, float]:
    return x / SIZE[1] * 100, y / SIZE[0] * 100


@settings(max_examples=60, deadline=None)
@given(PLACES, PLACES, SIDES, SIDES, ANGLES)
def test_a_rectangle_is_turned_clockwise_about_its_upper_left_corner(
    x: float, y: float, width: float, height: float, degrees: float
) -> None:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def along(px: float, py: float) -> tuple[float, float]:
        return (px - x) * cos + (py - y) * sin, (py - y) * cos - (px - x) * sin

    def is_in(px: float, py: float) -> bool:
        u, v = along(px, py)
        return 0 <= u < width and 0 <= v < height

    def is_near(px: float, py: float) -> bool:
        u, v = along(px, py)
        return min(abs(u), abs(u - width), abs(v), abs(v - height)) < 1e-9

    left, top = percent(x, y)
    across, down = percent(width, height)
    value = {"x": left, "y": top, "width": across, "height": down, "rotation": degrees}
    differs = shape_pixels(value, SIZE) != by_loops(is_in)
    assert not (differs & ~by_loops(is_near)).any()


@settings(max_examples=60, deadline=None)
@given(PLACES, PLACES, SIDES, SIDES, ANGLES)
def test_an_ellipse_is_turned_clockwise_about_its_centre(
    x: float, y: float, across: float, along: float, degrees: float
) -> None:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def distance(px: float, py: float) -> float:
        u, v = (px - x) * cos + (py - y) * sin, (py - y) * cos - (px - x) * sin
        return (u / across) ** 2 + (v / along) ** 2

    left, top = percent(x, y)
    wide, high = percent(across, along)
    value = {"x": left, "y": top, "radiusX": wide, "radiusY": high, "rotation": degrees}
    differs = shape_pixels(value, SIZE) != by_loops(lambda px, py: distance(px, py) <= 1)
    assert not (differs & ~by_loops(lambda px, py: abs(distance(px, py) - 1) < 1e-9)).any()


def test_shapes_that_share_an_edge_share_no_pixel_and_leave_none() -> None:
    """Edges through pixel centres: the left and the upper one belong to a shape."""
    size = (6, 8)
    parts = [
        polygon_pixels(np.array(points), size)
        for points in (
            [(0, 0), (3.5, 0), (3.5, 2.5), (0, 2.5)],
            [(3.5, 0), (8, 0), (8, 2.5), (3.5, 2.5)],
            [(0, 2.5), (8, 2.5), (8, 6)],
            [(0, 2.5), (8, 6), (0, 6)],
        )
    ]
    np.testing.assert_array_equal(np.sum(parts, axis=0), np.ones(size))
    assert parts[0].sum() == 3 * 2


def test_a_whole_image_and_a_single_pixel() -> None:
    whole = {"x": 0, "y": 0, "width": 100, "height": 100, "rotation": 0}
    assert shape_pixels(whole, SIZE).all()
    left, top = percent(5, 7)
    across, down = percent(1, 1)
    pixel = {"x": left, "y": top, "width": across, "height": down}
    assert np.argwhere(shape_pixels(pixel, SIZE)).tolist() == [[7, 5]]
    # A quarter turn about the corner leads to the left.
    assert np.argwhere(shape_pixels(pixel | {"rotation": 90}, SIZE)).tolist() == [[7, 4]]


def test_a_crossing_outline_is_filled_as_a_canvas_fills_it() -> None:
    """A star of five points in one stroke: the middle, wound around twice, is inside."""
    points = [(8 + 6 * math.sin(a), 6 - 6 * math.cos(a)) for a in np.arange(5) * 0.8 * math.pi]
    star = polygon_pixels(np.array(points), SIZE)
    assert star[6, 8]
    assert star.sum() == by_loops(lambda x, y: winding(points, x, y) != 0).sum()


def test_a_thousand_points_and_what_lies_far_outside() -> None:
    turns = np.linspace(0, 2 * math.pi, 1000, endpoint=False)
    circle = np.stack([8.5 + 5.2 * np.cos(turns), 6.5 + 5.2 * np.sin(turns)], axis=1)
    near = ellipse_pixels((8.5, 6.5), (5.2, 5.2), 0.0, SIZE)
    np.testing.assert_array_equal(polygon_pixels(circle, SIZE), near)
    assert not polygon_pixels(circle + 1000, SIZE).any()
    around = np.array([(-1e4, -1e4), (1e4, -1e4), (1e4, 1e4), (-1e4, 1e4)])
    assert polygon_pixels(around, SIZE).all()
    assert ellipse_pixels((0, 0), (1e6, 1e6), 0.3, SIZE).all()
    assert not ellipse_pixels((5, 5), (0, 3), 0.0, SIZE).any()


def test_a_shape_drawn_from_right_to_left_is_the_same() -> None:
    drawn = {"x": 20, "y": 30, "width": 50, "height": 40}
    back = {"x": 70, "y": 70, "width": -50, "height": -40}
    np.testing.assert_array_equal(shape_pixels(drawn, SIZE), shape_pixels(back, SIZE))
    ellipse = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 30}
    np.testing.assert_array_equal(
        shape_pixels(ellipse, SIZE), shape_pixels(ellipse | {"radiusX": -20}, SIZE)
    )


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"points": []}, "points is"),
        ({"points": None}, "points is None"),
        ({"points": [[1]]}, "a point is"),
        ({"points": [[1, 2, 3]]}, "a point is"),
        ({"points": ["12"]}, "a point is 12"),
        ({"points": [[1, float("nan")]]}, "y of a point is nan"),
        ({"points": [[1, "2"]]}, "y of a point is 2"),
        ({"points": [[True, 2]]}, "x of a point is True"),
        ({"points": [[1e300, 2]]}, r"x of a point is 1e\+300"),
        ({"points": [[10**400, 2]]}, "x of a point is 1000"),
        ({"x": 1, "y": 2, "width": 3}, "height is None"),
        ({"x": 1, "y": float("inf"), "width": 3, "height": 3}, "y is inf"),
        ({"x": 1, "y": 2, "width": 3, "height": 3, "rotation": "9"}, "rotation is 9"),
        ({"x": 1, "y": 2, "radiusX": 3}, "radiusY is None"),
        ({"x": 1, "y": 2, "radiusX": float("nan"), "radiusY": 1}, "radiusX is nan"),
        ({}, "x is None"),
    ],
)
def test_a_shape_without_a_place_is_refused_by_name(value: dict, named: str) -> None:
    with pytest.raises(AnnotationError, match=named):
        shape_pixels(value, SIZE)
