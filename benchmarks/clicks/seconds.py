"""Seconds of a person for an image: outlined thing by thing, or clicked and mended.

Both hands get each connected area of one class of 30 pixels or more to an IoU of .95 with the
truth. Outlines are polygons of as few points as give that (Douglas and Peucker 1973, the tolerance
found by halving), which is the best a careful painter can do. Who clicks stops when a click gains
little, and outlines what is still wrong, largest first. H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from pipeline.clicks.marks import Click
from pipeline.clicks.simulated_clicker import TrueThing, iou, next_click, things_of

WANTED_IOU = 0.95
LEAST_PX = 30
MOST_CLICKS = 6
LEAST_GAIN = 0.02  # of IoU by a click; after less a person takes the other tool
HALVINGS = 6
Bools = NDArray[np.bool_]
Points = NDArray[np.float64]
Masking = Callable[[Sequence[Click], int], Bools]
"""(clicks, class) -> the mask of an engine for one image."""


@dataclass(frozen=True, kw_only=True)
class SecondsPerAct:
    """Seconds of each act, waiting for the engine apart."""

    begin: float = 1.5
    """Choose the class, begin a region."""
    point: float = 1.0
    """Of a polygon: aim at the border, click."""
    click: float = 1.5
    """On or beside a thing, and look at what came of it."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What one image took."""

    begins: int = 0
    points: int = 0
    clicks: int = 0

    def __add__(self, other: Counted) -> Counted:
        """Both."""
        return Counted(
            begins=self.begins + other.begins,
            points=self.points + other.points,
            clicks=self.clicks + other.clicks,
        )

    def seconds(self, acts: SecondsPerAct) -> float:
        """Of a person's time."""
        return self.begins * acts.begin + self.points * acts.point + self.clicks * acts.click


def outlined(truth_HW: NDArray[np.uint8], num_classes: int) -> Counted:
    """Every thing drawn as polygons."""
    found = Counted()
    for thing in all_things(truth_HW, num_classes):
        found += outline(thing.area_HW, np.zeros_like(thing.area_HW), truth_HW != 255)
    return found


def clicked(truth_HW: NDArray[np.uint8], num_classes: int, masking: Masking) -> Counted:
    """Every thing clicked first."""
    found = Counted()
    for thing in all_things(truth_HW, num_classes):
        found += _clicked_thing(thing, truth_HW != 255, masking)
    return found


def all_things(truth_HW: NDArray[np.uint8], num_classes: int) -> list[TrueThing]:
    """Of all classes, those of LEAST_PX or more."""
    return [thing for index in range(num_classes) for thing in things_of(truth_HW, index, LEAST_PX)]


def _clicked_thing(thing: TrueThing, known_HW: Bools, masking: Masking) -> Counted:
    mask_HW, best = np.zeros_like(thing.area_HW), 0.0
    clicks: list[Click] = []
    while best < WANTED_IOU and len(clicks) < MOST_CLICKS:
        click = next_click(mask_HW, thing.area_HW, known_HW)
        if click is None:
            break
        clicks.append(click)
        tried_HW = masking(clicks, thing.class_index)
        reached = iou(tried_HW, thing.area_HW, known_HW)
        gain = reached - best
        if gain > 0:  # a click that only harms is taken back
            mask_HW, best = tried_HW, reached
        if gain < LEAST_GAIN:
            break
    rest = outline(thing.area_HW, mask_HW, known_HW)
    whole = outline(thing.area_HW, np.zeros_like(mask_HW), known_HW)
    if rest.points + rest.begins >= whole.points + whole.begins:
        rest = whole  # the mask helps nothing: thrown away
    return Counted(begins=1, clicks=len(clicks)) + rest


def outline(aim_HW: Bools, have_HW: Bools, known_HW: Bools) -> Counted:
    """From the mask one has to WANTED_IOU: wrong areas outlined, the largest first."""
    mask_HW, begins, points = have_HW.copy(), 0, 0
    wrong_HW = (aim_HW != have_HW) & known_HW
    areas = things_of((wrong_HW & aim_HW).astype(np.uint8), 1)
    areas += things_of((wrong_HW & ~aim_HW).astype(np.uint8), 1)
    for area in sorted(areas, key=lambda each: -np.count_nonzero(each.area_HW)):
        if iou(mask_HW, aim_HW, known_HW) >= WANTED_IOU:
            break
        drawn_HW, count = _drawn(area.area_HW)
        adds = bool(aim_HW[area.area_HW][0])
        mask_HW = mask_HW | drawn_HW if adds else mask_HW & ~drawn_HW
        begins, points = begins + 1, points + count
    return Counted(begins=begins, points=points)


def _drawn(area_HW: Bools) -> tuple[Bools, int]:
    """The area by polygons of few points, holes included, and how many points those are."""
    low, high = 0.3, 12.0
    best = _polygons(area_HW, low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        tried = _polygons(area_HW, middle)
        if iou(tried[0], area_HW) >= WANTED_IOU:
            best, low = tried, middle
        else:
            high = middle
    return best


def _polygons(area_HW: Bools, tolerance: float) -> tuple[Bools, int]:
    window = ndimage.find_objects(area_HW.astype(np.uint8))[0]
    padded = np.pad(area_HW[window], 1).astype(float)
    canvas = Image.new("1", (padded.shape[1], padded.shape[0]))
    draw = ImageDraw.Draw(canvas)
    count = 0
    lines: list[Points] = [np.asarray(line) for line in contour_generator(z=padded).lines(0.5)]
    for line in sorted(lines, key=lambda each: -np.ptp(each, axis=0).prod()):
        points = _simplified(line[:-1], tolerance)
        if len(points) < 3:
            continue
        count += len(points)
        fill = _turns_left(line)
        draw.polygon([tuple(point) for point in points], fill=int(fill), outline=int(fill))
    drawn_HW = np.zeros_like(area_HW)
    drawn_HW[window] = np.asarray(canvas)[1:-1, 1:-1]
    return drawn_HW, count


def _turns_left(line_M2: Points) -> bool:
    """Outer borders and holes run round in opposite directions (contourpy)."""
    x, y = line_M2.T
    return bool((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0)


def _simplified(line_M2: Points, tolerance: float) -> Points:
    """Douglas and Peucker's of a closed line: from its first point and the one farthest from it."""
    far = int(np.square(line_M2 - line_M2[0]).sum(1).argmax())
    halves = (line_M2[: far + 1], np.concatenate([line_M2[far:], line_M2[:1]]))
    return np.concatenate([_between(half, tolerance)[:-1] for half in halves])


def _between(line_M2: Points, tolerance: float) -> Points:
    kept = np.zeros(len(line_M2), bool)
    kept[[0, -1]] = True
    spans = [(0, len(line_M2) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        start, along = line_M2[first], line_M2[last] - line_M2[first]
        away = line_M2[first + 1 : last] - start
        length = float(np.hypot(*along))
        off = (
            np.abs(away[:, 0] * along[1] - away[:, 1] * along[0]) / length
            if length
            else np.hypot(*away.T)
        )
        place = int(off.argmax())
        if off[place] > tolerance:
            middle = first + 1 + place
            kept[middle] = True
            spans += [(first, middle), (middle, last)]
    return line_M2[kept]
