"""What stands or moves in the street: cars, people, trees, poles; drawn far to near."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.data.synthetic.canvas import (
    CAR,
    PEDESTRIAN,
    POLE,
    TREE,
    Canvas,
    Floats,
    lookup,
)

CAR_COLOURS = (
    (0.75, 0.75, 0.75),
    (0.10, 0.10, 0.11),
    (0.38, 0.40, 0.42),
    (0.60, 0.10, 0.10),
    (0.12, 0.22, 0.48),
    (0.20, 0.34, 0.26),
    (0.70, 0.62, 0.46),
)
GLASS = (0.10, 0.13, 0.17)
TYRE = (0.05, 0.05, 0.05)
CAR_LENGTH_M = 4.2
SLICE_STEP_PX = 2.0  # sideways, between cross-sections of a car: its side looks closed
SKINS = ((0.78, 0.58, 0.46), (0.52, 0.36, 0.26), (0.34, 0.22, 0.16))
CLOTHES = (
    (0.62, 0.12, 0.12),
    (0.14, 0.20, 0.44),
    (0.12, 0.12, 0.13),
    (0.70, 0.68, 0.62),
    (0.76, 0.60, 0.16),
    (0.20, 0.38, 0.26),
    (0.40, 0.30, 0.24),
)
LEAVES = ((0.20, 0.36, 0.12), (0.28, 0.42, 0.16), (0.16, 0.28, 0.14), (0.52, 0.36, 0.10))
SIGNS = ((0.62, 0.08, 0.08), (0.10, 0.22, 0.60), (0.78, 0.62, 0.10))
HEADLIGHT = (3.2, 3.0, 2.6)
TAILLIGHT = (1.8, 0.14, 0.08)
LAMP = (2.4, 1.8, 1.0)


@dataclass(frozen=True)
class Place:
    """Where an object touches the ground."""

    x: float
    z: float


def paint_car(
    canvas: Canvas, place: Place, rng: np.random.Generator, *, oncoming: bool, lamps: bool
) -> None:
    """A car seen along the street, built of cross-sections from its far end to its near one."""
    colour = np.array(CAR_COLOURS[rng.integers(len(CAR_COLOURS))]) * rng.uniform(0.8, 1.2)
    width, roof = rng.uniform(0.84, 0.98), rng.uniform(1.35, 1.75)
    shift_px = canvas.camera.focal_px * abs(place.x) * (1 / place.z - 1 / (place.z + CAR_LENGTH_M))
    # 0 = the end near the camera.
    for along in np.linspace(1, 0, int(np.clip(shift_px / SLICE_STEP_PX, 6, 60)) + 1):
        z = place.z + along * CAR_LENGTH_M
        plane = canvas.plane(z, place.x - 1, place.x + 1, roof + 0.05)
        if plane is None:
            continue
        x = np.abs(plane.x_HW - np.float32(place.x))
        y = plane.y_HW
        cabin = 0.18 < along < 0.80
        half = np.where(y > 0.9, width - 0.45 * (y - 0.9), width)
        body = (half > x) & (y > 0.22) & ((roof if cabin else 0.95) > y)
        wheels = (x > width - 0.25) & (width > x) & (y <= 0.4) & (y > 0)
        if min(abs(along - 0.18), abs(along - 0.82)) < 0.08:  # the axles
            canvas.paint(plane.window, wheels, CAR, TYRE, z)
        shadow = (width > x) & (y <= 0.25) & (y > 0.1)
        canvas.paint(plane.window, shadow, CAR, (0.03, 0.03, 0.03), z)
        tone = tuple(colour * (0.85 if along else 1.0))
        canvas.paint(plane.window, body, CAR, tone, z)
        if cabin:
            rim = (half - 0.10 < x) | (along <= 0.25)
            glass = body & rim & (y > 0.95) & (roof - 0.14 > y) & (half - 0.02 > x)
            canvas.paint(plane.window, glass, CAR, GLASS, z)
    _paint_car_end(canvas, place, width, oncoming=oncoming, lamps=lamps)


def _paint_car_end(
    canvas: Canvas, place: Place, width: float, *, oncoming: bool, lamps: bool
) -> None:
    plane = canvas.plane(place.z, place.x - 1, place.x + 1, 1.0)
    if plane is None:
        return
    x, y = np.abs(plane.x_HW - np.float32(place.x)), plane.y_HW
    lights = (x > width - 0.32) & (width - 0.06 > x) & (y > 0.58) & (y < 0.80)
    plain = (0.80, 0.80, 0.76) if oncoming else (0.45, 0.06, 0.05)
    canvas.paint(plane.window, lights, CAR, plain, place.z)
    if lamps:
        canvas.shine(plane.window, lights, HEADLIGHT if oncoming else TAILLIGHT)
    plate = (x < 0.26) & (y > 0.42) & (y < 0.54)
    canvas.paint(plane.window, plate, CAR, (0.72, 0.72, 0.66), place.z)
    bumper = (width > x) & (y > 0.2) & (y < 0.36)
    canvas.paint(plane.window, bumper, CAR, (0.12, 0.12, 0.12), place.z)


def paint_crossing_car(
    canvas: Canvas, place: Place, rng: np.random.Generator, *, lamps: bool
) -> None:
    """A car seen from its side, driving along the cross street."""
    plane = canvas.plane(place.z, place.x - 2.3, place.x + 2.3, 1.6)
    if plane is None:
        return
    colour = np.array(CAR_COLOURS[rng.integers(len(CAR_COLOURS))]) * rng.uniform(0.8, 1.2)
    forward = 1 if rng.random() < 0.5 else -1
    x, y = (plane.x_HW - np.float32(place.x)) * forward, plane.y_HW
    body = (np.abs(x) < 2.1 - 0.5 * np.maximum(0, y - 0.7)) & (y > 0.25) & (y < 0.88)
    cabin = (x > -1.5 + 0.5 * (y - 0.88)) & (x < 0.9 - 0.9 * (y - 0.88)) & (y < 1.42) & (y >= 0.88)
    canvas.paint(plane.window, body | cabin, CAR, tuple(colour), place.z)
    glass = cabin & (y > 0.95) & (y < 1.34) & (np.abs(x + 0.25) > 0.06)
    glass &= (x > -1.36 + 0.5 * (y - 0.88)) & (x < 0.76 - 0.9 * (y - 0.88))
    canvas.paint(plane.window, glass, CAR, GLASS, place.z)
    for axle in (-1.3, 1.3):
        wheel = (x - axle) ** 2 + (y - 0.32) ** 2 < 0.33**2
        canvas.paint(plane.window, wheel, CAR, TYRE, place.z)
    if lamps:
        ends = ((x > 1.95, HEADLIGHT), (x < -1.95, TAILLIGHT))
        for end, light in ends:
            canvas.shine(plane.window, body & end & (y > 0.55) & (y < 0.78), light)


def paint_pedestrian(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    """Head, trunk, arms and striding legs."""
    tall = rng.uniform(1.45, 1.9) / 1.72
    plane = canvas.plane(place.z, place.x - 0.6, place.x + 0.6, 1.9)
    if plane is None:
        return
    x, y = (plane.x_HW - np.float32(place.x)) / tall, plane.y_HW / tall
    stride, swing = rng.uniform(0, 0.28), rng.uniform(0, 0.3)
    skin = SKINS[rng.integers(len(SKINS))]
    top, trousers, hair = (CLOTHES[i] for i in rng.integers(len(CLOTHES), size=3))
    hips_down = np.maximum(0, 0.86 - y)
    legs = (np.abs(np.abs(x) - 0.09 - stride * hips_down / 0.86) < 0.085) & (y < 0.9) & (y > 0)
    canvas.paint(plane.window, legs, PEDESTRIAN, trousers, place.z)
    shoulder = np.where(y > 1.25, 0.23 - 0.5 * (y - 1.25), 0.18 + 0.05 * (y - 0.8) / 0.45)
    trunk = (np.abs(x) < shoulder) & (y > 0.8) & (y < 1.48)
    arms = (np.abs(np.abs(x) - 0.25 - swing * (1.4 - y) / 0.6) < 0.06) & (y > 0.85) & (y < 1.4)
    canvas.paint(plane.window, trunk | arms, PEDESTRIAN, top, place.z)
    head = (x / 0.115) ** 2 + ((y - 1.58) / 0.145) ** 2 < 1
    canvas.paint(plane.window, head, PEDESTRIAN, skin, place.z)
    canvas.paint(plane.window, head & (y > 1.62), PEDESTRIAN, tuple(0.5 * c for c in hair), place.z)


def paint_tree(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    """A trunk and a crown of ragged balls, lighter above."""
    crown, radius = rng.uniform(2.6, 4.2), rng.uniform(1.1, 2.2)
    plane = canvas.plane(place.z, place.x - 2 * radius, place.x + 2 * radius, crown + 3 * radius)
    if plane is None:
        return
    x, y = plane.x_HW - np.float32(place.x), plane.y_HW
    trunk = (np.abs(x) < 0.10 + 0.05 * radius) & (y > 0) & (crown + 0.5 > y)
    bark = np.array([0.26, 0.20, 0.15]) * rng.uniform(0.7, 1.2)
    canvas.paint(plane.window, trunk, TREE, tuple(bark), place.z)
    grain = rng.random((64, 64), dtype=np.float32)
    rough = 0.6 * lookup(grain, x * 4, y * 4) + 0.4 * lookup(grain, x * 11 + 5, y * 11)
    nearest: Floats = np.full(rough.shape, np.inf, np.float32)
    for _ in range(7):
        dx, dy = rng.normal(0, 0.5 * radius), rng.uniform(0, 1.5 * radius)
        size = radius * rng.uniform(0.5, 0.9)
        ball = ((x - dx) / size) ** 2 + ((y - crown - dy) / size) ** 2
        nearest = np.minimum(nearest, ball).astype(np.float32)
    leaves = nearest + 0.7 * rough < 1.2
    light = 0.55 + 0.5 * rough + 0.25 * np.clip((y - crown) / (2 * radius), 0, 1)
    green = np.array(LEAVES[rng.integers(len(LEAVES))]) * rng.uniform(0.8, 1.2)
    colour = (light[:, :, None] * green).astype(np.float32)
    canvas.paint(plane.window, leaves, TREE, colour, place.z)


def paint_pole(
    canvas: Canvas, place: Place, rng: np.random.Generator, *, inward: int, lamps: bool
) -> None:
    """A lamp post whose arm reaches over the road, or a plain post with a plate."""
    lamp = rng.random() < 0.7
    tall = rng.uniform(4.8, 6.5) if lamp else rng.uniform(2.2, 3.2)
    plane = canvas.plane(place.z, place.x - 1.7, place.x + 1.7, tall + 0.3)
    if plane is None:
        return
    x, y = (plane.x_HW - np.float32(place.x)) * inward, plane.y_HW
    post = (np.abs(x) < 0.15) & (y > 0) & (tall > y)
    grey = np.array([0.07, 0.13, 0.11]) * rng.uniform(0.6, 1.4)
    canvas.paint(plane.window, post, POLE, tuple(grey), place.z)
    if lamp:
        arm = (x > 0) & (x < 1.5) & (np.abs(y - tall + 0.1) < 0.12)
        head = (x > 0.9) & (x < 1.6) & (np.abs(y - tall + 0.16) < 0.13)
        canvas.paint(plane.window, arm | head, POLE, tuple(grey), place.z)
        if lamps:
            canvas.shine(plane.window, head & (tall - 0.08 > y), LAMP)
        return
    from_middle = np.hypot(x, y - tall + 0.3)
    colour = SIGNS[rng.integers(len(SIGNS))]
    canvas.paint(plane.window, from_middle < 0.40, POLE, colour, place.z)
    canvas.paint(plane.window, from_middle < 0.22, POLE, (0.8, 0.8, 0.8), place.z)
