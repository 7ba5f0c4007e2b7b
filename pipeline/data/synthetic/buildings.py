"""Rows of houses and hedges along both sides, and what closes the street at its far end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.data.synthetic.canvas import BUILDING, TREE, Bools, Canvas, Floats, lookup
from pipeline.data.synthetic.conditions import Layout
from pipeline.data.synthetic.ground import WHOLE, Road

END_M = 110.0  # houses beyond are a pixel wide
BACK_M = 9.0  # depth of a house away from the street, seen through gaps
WALLS = (
    (0.62, 0.30, 0.22),  # brick
    (0.78, 0.66, 0.36),  # ochre
    (0.78, 0.76, 0.72),  # plaster
    (0.44, 0.50, 0.58),  # slate
    (0.70, 0.44, 0.30),  # terracotta
    (0.50, 0.60, 0.50),
    (0.52, 0.36, 0.30),
)
GLASS = np.array((0.16, 0.20, 0.26), np.float32)
LAMPLIGHT = (0.50, 0.33, 0.14)


@dataclass(frozen=True, kw_only=True)
class House:
    """A box beside the street, or a hedge; `near` and `far` along z."""

    side: int
    wall_m: float  # distance of its street front from the camera's axis
    near: float
    far: float
    height: float
    hedge: bool
    colour: Floats
    window: tuple[float, float, float]  # bay width, storey height, glass share
    lit: float  # share of windows with light
    grain: Floats


def plan_row(layout: Layout, road: Road, side: int, rng: np.random.Generator) -> list[House]:
    """Houses of one side, near to far, with gaps where the cross street runs."""
    houses: list[House] = []
    z = rng.uniform(1.0, 5.0)
    while z < END_M:
        length = rng.uniform(*layout.building_length_m)
        crossed = road.cross_m and z + length > road.cross_m[0] - 1 and z < road.cross_m[1] + 1
        if crossed and road.cross_m and z < road.cross_m[0] - 5:
            length, crossed = road.cross_m[0] - 2 - z, False
        if not crossed and rng.random() > layout.gap_probability:
            houses.append(_house(layout, road, side, (z, z + length), rng))
        z += length
    return houses


def _house(
    layout: Layout,
    road: Road,
    side: int,
    reach: tuple[float, float],
    rng: np.random.Generator,
) -> House:
    hedge = bool(rng.random() < layout.hedge_probability)
    if hedge:
        colour = np.array([0.22, 0.36, 0.14]) * rng.uniform(0.7, 1.3)
    else:
        colour = np.array(WALLS[rng.integers(len(WALLS))]) * rng.uniform(0.7, 1.15)
    return House(
        side=side,
        wall_m=side * road.edge(side) + rng.choice([0.0, 0.0, rng.uniform(0, 2.5)]),
        near=reach[0],
        far=reach[1],
        height=rng.uniform(1.2, 4.5) if hedge else rng.uniform(*layout.building_height_m),
        hedge=hedge,
        colour=(colour * rng.normal(1, 0.05, 3)).astype(np.float32),
        window=(rng.uniform(1.6, 3.2), rng.uniform(2.6, 3.6), rng.uniform(0.35, 0.75)),
        lit=rng.uniform(*layout.lit_windows),
        grain=rng.random((64, 64), dtype=np.float32),
    )


class Facade(NamedTuple):
    """Pixels of a wall: which are its own, where on it they lie, and how far away. In metres."""

    inside: Bools
    u: Floats
    """Along the wall."""
    v: Floats
    """Above the ground."""
    z: Floats


def paint_house(canvas: Canvas, house: House, sunlit: bool) -> None:
    """The face towards the camera, then the front along the street, which hides part of it."""
    inner, outer = sorted((house.side * house.wall_m, house.side * (house.wall_m + BACK_M)))
    plane = canvas.plane(house.near, inner, outer, house.height)
    if plane:
        inside = (plane.x_HW > inner) & (plane.x_HW < outer)
        inside = inside & (plane.y_HW > 0) & (plane.y_HW < house.height)
        u, v = np.broadcast_arrays(plane.x_HW - inner, plane.y_HW)
        depth = np.full(u.shape, house.near, np.float32)
        _paint_facade(canvas, house, plane.window, Facade(inside, u, v, depth))
        canvas.shade_HW[plane.window][inside] = 0.35
    outward = canvas.right_W * house.side
    z_HW = np.where(outward > 1e-4, house.wall_m / np.maximum(outward, 1e-4), -1)
    columns = np.flatnonzero((z_HW[0] > house.near) & (z_HW[0] < house.far))
    if len(columns) == 0:
        return
    span = slice(int(columns[0]), int(columns[-1]) + 1)
    z_HW = z_HW[:, span].astype(np.float32)
    y_HW = np.float32(canvas.camera.height_m) - canvas.down_H * z_HW
    inside = (y_HW > 0) & (y_HW < house.height)
    rows = np.flatnonzero(inside.any(1))
    if len(rows) == 0:
        return
    window = (slice(int(rows[0]), int(rows[-1]) + 1), span)
    inside, y_HW = inside[window[0]], y_HW[window[0]]
    z_HW = np.broadcast_to(z_HW, y_HW.shape)
    along = z_HW - np.float32(house.near)
    _paint_facade(canvas, house, window, Facade(inside, along, y_HW, z_HW))
    canvas.shade_HW[window][inside] = 1.0 if sunlit else 0.0


def _paint_facade(
    canvas: Canvas,
    house: House,
    window: tuple[slice, slice],
    facade: Facade,
) -> None:
    inside, u, v, z = facade
    if house.hedge:
        rough = lookup(house.grain, u * 5, v * 5)
        leafy = inside & (v < house.height - 0.8 * lookup(house.grain, u * 2, np.zeros_like(v)))
        canvas.paint(window, leafy, TREE, house.colour * (0.5 + 0.9 * rough)[:, :, None], z)
        return
    bay, storey, share = house.window
    brick = lookup(house.grain, u * 3, v * 6) - 0.5
    stain = lookup(house.grain, u / 2.5, v / 5.0) - 0.5
    colour = house.colour * (1 + 0.18 * brick + 0.16 * stain)[:, :, None]
    across, up = np.mod(u / bay, 1), np.mod(v / storey, 1)
    shop = v < storey
    half = np.where(shop, 0.44, share / 2)
    glass = (np.abs(across - 0.5) < half) & (up > 0.25) & (up < 0.82)
    glass &= v < house.height - 0.8
    number = lookup(house.grain, u / bay, v / storey)
    colour = np.where(glass[:, :, None], GLASS * (0.6 + 1.2 * number)[:, :, None], colour)
    cornice = (v > house.height - 0.45) | (np.abs(v - storey) < 0.18)
    colour = np.where(cornice[:, :, None], colour * np.float32(0.75), colour)
    canvas.paint(window, inside, BUILDING, colour.astype(np.float32), z)
    canvas.shine(window, inside & glass & (number < house.lit), LAMPLIGHT)


def paint_far_end(canvas: Canvas, layout: Layout, rng: np.random.Generator) -> None:
    """A skyline, or trees, across the street's end."""
    x_W = canvas.right_W[0] * END_M
    y_HW = np.float32(canvas.camera.height_m) - canvas.down_H * np.float32(END_M)
    heights = rng.uniform(*layout.building_height_m, 64).astype(np.float32)
    leafy = rng.random() < 0.4
    if leafy:
        heights = heights * np.float32(0.5) + 2
        ragged = heights[np.floor(x_W / 5).astype(int) % 64]
        ragged = ragged + rng.uniform(0, 2.5, x_W.shape).astype(np.float32)
    else:
        ragged = heights[np.floor(x_W / 13).astype(int) % 64]
    inside = (y_HW > 0) & (y_HW < ragged[None])
    base = np.array((0.24, 0.34, 0.18) if leafy else WALLS[rng.integers(len(WALLS))], np.float32)
    rough = rng.uniform(0.75, 1.25, inside.shape).astype(np.float32)
    tones = rng.uniform(0.7, 1.2, 64).astype(np.float32)[np.floor(x_W / 13).astype(int) % 64]
    colour = base * (rough * tones[None])[:, :, None]
    canvas.paint(WHOLE, inside, TREE if leafy else BUILDING, colour, END_M)


def cast_row_shadow(canvas: Canvas, houses: list[House], slant: float) -> None:
    """Shade the ground beside a row that stands between it and the sun; `slant` m per m height."""
    x_HW, z_HW = canvas.ground_x_HW, canvas.ground_z_HW
    for house in houses:
        beside = (z_HW > house.near) & (z_HW < house.far)
        reach = house.wall_m - slant * house.height
        canvas.shade_HW[beside & (house.side * x_HW > reach)] = 0.0
