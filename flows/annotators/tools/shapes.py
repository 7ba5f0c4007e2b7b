"""Polygons, rectangles and ellipses of Label Studio as pixels.

One rule for all: a pixel belongs to a shape when its centre does. A centre exactly on an outline
belongs where the shape lies to the right of it or below it, so that shapes that share an edge share
no pixel; what lies outside the image is cut off. Outlines that cross themselves are filled by the
nonzero winding rule, as a browser's canvas fills them. Canvas colours a pixel by how much of it is
covered, so what the screen shows differs by at most the pixels that an outline runs through.

Places are in percent of the image's width and height, from its upper left corner; angles in
degrees, clockwise. A rectangle is turned about its upper left corner, an ellipse about its centre,
both in pixels. H height, W width, N points, x before y.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import AnnotationError
from pipeline.plain_text import plain

FURTHEST = 1e6  # percent; nobody draws beyond, and products of larger numbers lose their digits

Bools = npt.NDArray[np.bool_]
_Points = npt.NDArray[np.float64]


def shape_pixels(value: Mapping[str, Any], size: tuple[int, int]) -> Bools:
    """pixels_HW of a region's `value`: a polygon, an ellipse or a rectangle, by what it holds.

    AnnotationError where a number is missing, no number, or far from any image.
    """
    if "points" in value:
        return polygon_pixels(_polygon(value["points"], size), size)
    x, y = _number(value, "x") / 100 * size[1], _number(value, "y") / 100 * size[0]
    angle = math.radians(_number(value, "rotation") if value.get("rotation") is not None else 0.0)
    if "radiusX" in value:
        radii = (
            _number(value, "radiusX") / 100 * size[1],
            _number(value, "radiusY") / 100 * size[0],
        )
        return ellipse_pixels((x, y), radii, angle, size)
    width, height = (
        _number(value, "width") / 100 * size[1],
        _number(value, "height") / 100 * size[0],
    )
    right = np.array([math.cos(angle), math.sin(angle)]) * width
    down = np.array([-math.sin(angle), math.cos(angle)]) * height
    corner = np.array([x, y])
    corners_N2 = np.stack([corner, corner + right, corner + right + down, corner + down])
    return polygon_pixels(corners_N2, size)


def polygon_pixels(points_N2: _Points, size: tuple[int, int]) -> Bools:
    """pixels_HW whose centres a closed outline winds around; fewer than three points hold none."""
    height, width = size
    turns_HW = np.zeros((height, width + 1), dtype=np.int32)
    for (x0, y0), (x1, y1) in zip(points_N2, np.roll(points_N2, -1, axis=0), strict=True):
        top, bottom = min(y0, y1), max(y0, y1)
        first, end = (min(max(math.ceil(y - 0.5), 0), height) for y in (top, bottom))
        if first >= end:  # level, or between two rows of centres
            continue
        rows = np.arange(first, end)
        crossings = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        # From the first centre at or right of the edge on, the outline winds once more.
        columns = np.ceil(crossings - 0.5).clip(0, width).astype(np.int64)
        turns_HW[rows, columns] += 1 if y1 > y0 else -1
    return turns_HW[:, :width].cumsum(axis=1) != 0


def ellipse_pixels(
    centre: tuple[float, float], radii: tuple[float, float], angle: float, size: tuple[int, int]
) -> Bools:
    """pixels_HW whose centres lie in an ellipse or on it; `angle` in radians, clockwise."""
    pixels_HW = np.zeros(size, dtype=np.bool_)
    across, along = abs(radii[0]), abs(radii[1])
    if not across or not along:
        return pixels_HW
    reach = max(across, along)
    rows, columns = (
        slice(max(0, math.floor(middle - reach)), max(0, min(side, math.ceil(middle + reach))))
        for middle, side in zip(centre[::-1], size, strict=True)
    )
    y_H1 = np.arange(size[0])[rows, None] + 0.5 - centre[1]
    x_1W = np.arange(size[1])[None, columns] + 0.5 - centre[0]
    u_HW = (x_1W * math.cos(angle) + y_H1 * math.sin(angle)) / across
    v_HW = (y_H1 * math.cos(angle) - x_1W * math.sin(angle)) / along
    pixels_HW[rows, columns] = u_HW**2 + v_HW**2 <= 1
    return pixels_HW


def _polygon(points: Any, size: tuple[int, int]) -> _Points:
    if not isinstance(points, list) or not points:
        raise _placeless("points", points)
    for point in points:
        if not isinstance(point, list | tuple) or len(point) != 2:
            raise _placeless("a point", point)
    places = [[_checked(x, "x of a point"), _checked(y, "y of a point")] for x, y in points]
    return np.array(places) / 100 * np.array([size[1], size[0]])


def _number(value: Mapping[str, Any], name: str) -> float:
    return _checked(value.get(name), name)


def _checked(found: Any, name: str) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise _placeless(name, found)
    if not abs(found) <= FURTHEST:  # NaN is not
        raise _placeless(name, found)
    return float(found)


def _placeless(name: str, found: Any) -> AnnotationError:
    return AnnotationError(
        f"{name} is {plain(str(found), 40)}, expected percent of the image: draw the shape again"
    )
