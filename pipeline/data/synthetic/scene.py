"""One street scene: planned, painted far to near, photographed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.synthetic import buildings, objects
from pipeline.data.synthetic.canvas import SUPERSAMPLE, Camera, Canvas
from pipeline.data.synthetic.conditions import Conditions, Layout
from pipeline.data.synthetic.ground import Road, cast_shadow, paint_ground
from pipeline.data.synthetic.light import photograph

FOCAL = 0.85  # of the width: 61 degrees across
POLES_TO_M = 45.0  # farther ones are thinner than a pixel
# Half-widths in metres, across and along, of the dark patch under a thing.
SHADOWS = {
    "driving": (1.15, 2.5),
    "parked": (1.15, 2.5),
    "crossing": (2.4, 0.9),
    "pedestrian": (0.4, 0.4),
}


@dataclass(frozen=True)
class Thing:
    """An object of some kind on the left (-1) or right (+1)."""

    kind: str
    place: objects.Place
    side: int


def draw_scene(
    conditions: Conditions, rng: np.random.Generator, *, height_px: int, width_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image HxWx3 and class indices HxW of a new street under `conditions`."""
    layout, light = conditions.layout, conditions.light
    canvas = _canvas(layout, rng, height_px, width_px)
    road = _plan_road(layout, rng)
    sunny, sun_side = bool(rng.random() < light.sunny_probability), int(rng.choice([-1, 1]))
    paint_ground(canvas, road, rng)
    buildings.paint_far_end(canvas, layout, rng)
    for side in (-1, 1):
        row = buildings.plan_row(layout, road, side, rng)
        if sunny and side == sun_side:
            buildings.cast_row_shadow(canvas, row, rng.uniform(0.2, 0.9))
        for house in reversed(row):
            buildings.paint_house(canvas, house, sunlit=side != sun_side)
    lamps_at = _paint_objects(canvas, layout, road, rng, lamps=light.lamps)
    image = photograph(canvas, light, lamps_at, rng, sunny=sunny)
    middle = SUPERSAMPLE // 2
    return image, canvas.label_HW[middle::SUPERSAMPLE, middle::SUPERSAMPLE].copy()


def _canvas(layout: Layout, rng: np.random.Generator, height_px: int, width_px: int) -> Canvas:
    height, width = height_px * SUPERSAMPLE, width_px * SUPERSAMPLE
    camera = Camera(
        focal_px=FOCAL * width,
        centre_px=rng.uniform(0.3, 0.7) * width,
        horizon_px=rng.uniform(*layout.horizon) * height,
        height_m=rng.uniform(1.3, 2.2),
    )
    return Canvas(height, width, camera)


def _plan_road(layout: Layout, rng: np.random.Generator) -> Road:
    half = rng.uniform(*layout.road_half_m)
    near = rng.uniform(9, 28)
    crossed = rng.random() < layout.cross_street_probability
    return Road(
        centre_m=rng.uniform(-0.7, 0.4) * half,
        half_m=half,
        left_pavement_m=rng.uniform(*layout.pavement_m),
        right_pavement_m=rng.uniform(*layout.pavement_m),
        cross_m=(near, near + rng.uniform(6, 9)) if crossed else None,
    )


def _paint_objects(
    canvas: Canvas, layout: Layout, road: Road, rng: np.random.Generator, *, lamps: bool
) -> list[tuple[float, float]]:
    """Everything that stands on the ground, far to near; returns where the lamps hang."""
    cars = [_place_car(layout, road, rng) for _ in range(_count(layout.cars, rng))]
    things = [car for i, car in enumerate(cars) if not any(_clash(car, o) for o in cars[:i])]
    things += [_place_tree(road, rng) for _ in range(_count(layout.trees, rng))]
    things += [_place_pedestrian(road, rng) for _ in range(_count(layout.pedestrians, rng))]
    poles = [pole for side in (-1, 1) for pole in _place_poles(layout, road, side, rng)]
    for thing in sorted(things + poles, key=lambda thing: -thing.place.z):
        if half_m := SHADOWS.get(thing.kind):
            # A car along the street reaches away from the camera.
            behind = half_m[1] - 0.4 if thing.kind in ("driving", "parked") else 0.0
            cast_shadow(canvas, thing.place.x, thing.place.z + behind, half_m)
        _paint_thing(canvas, thing, rng, lamps=lamps)
    return [(pole.place.x - pole.side, pole.place.z) for pole in poles]


def _paint_thing(canvas: Canvas, thing: Thing, rng: np.random.Generator, *, lamps: bool) -> None:
    if thing.kind == "tree":
        objects.paint_tree(canvas, thing.place, rng)
    elif thing.kind == "pedestrian":
        objects.paint_pedestrian(canvas, thing.place, rng)
    elif thing.kind == "pole":
        objects.paint_pole(canvas, thing.place, rng, inward=-thing.side, lamps=lamps)
    elif thing.kind == "crossing":
        objects.paint_crossing_car(canvas, thing.place, rng, lamps=lamps)
    else:
        shining = lamps and thing.kind == "driving"
        objects.paint_car(canvas, thing.place, rng, oncoming=thing.side < 0, lamps=shining)


def _count(bounds: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def _side(rng: np.random.Generator) -> int:
    return int(rng.choice([-1, 1]))


def _place_car(layout: Layout, road: Road, rng: np.random.Generator) -> Thing:
    side, z = _side(rng), 4.5 + 28 * rng.random() ** 1.6
    if road.cross_m and rng.random() < 0.4:
        between = rng.uniform(road.cross_m[0] + 1, road.cross_m[1] - 1)
        return Thing("crossing", objects.Place(rng.uniform(-12, 12), between), side)
    if rng.random() < layout.parked_probability:
        return Thing("parked", objects.Place(road.centre_m + side * (road.half_m - 0.95), z), side)
    return Thing("driving", objects.Place(road.centre_m + side * road.half_m * 0.45, z + 2), side)


def _clash(car: Thing, other: Thing) -> bool:
    """Whether two cars would stand inside each other."""
    apart_m = 4.7 if "crossing" in (car.kind, other.kind) else 2.0
    dx, dz = abs(car.place.x - other.place.x), abs(car.place.z - other.place.z)
    return dx < apart_m and dz < 5.0


def _place_tree(road: Road, rng: np.random.Generator) -> Thing:
    side = _side(rng)
    x = road.edge(side) - side * rng.uniform(0.2, 0.8)
    return Thing("tree", objects.Place(x, rng.uniform(6, 45)), side)


def _place_pedestrian(road: Road, rng: np.random.Generator) -> Thing:
    side, z = _side(rng), 4.0 + 15 * rng.random() ** 1.4
    if rng.random() < 0.12:  # crossing the road
        x = road.centre_m + rng.uniform(-1, 1) * road.half_m
    else:
        inner = road.centre_m + side * (road.half_m + 0.5)
        x = inner + (road.edge(side) - inner) * rng.random()
    return Thing("pedestrian", objects.Place(x, z), side)


def _place_poles(layout: Layout, road: Road, side: int, rng: np.random.Generator) -> list[Thing]:
    x, z = road.centre_m + side * (road.half_m + 0.35), rng.uniform(4, 14)
    poles = []
    while z < POLES_TO_M:
        poles.append(Thing("pole", objects.Place(x, z), side))
        z += rng.uniform(*layout.pole_spacing_m)
    return poles
