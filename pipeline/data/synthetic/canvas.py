"""The picture under construction, and how metres become pixels.

World: X metres to the right of the camera's axis, Y above the ground, z ahead. Arrays: H, W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

CLASSES = ("sky", "building", "road", "pavement", "tree", "car", "pedestrian", "pole")
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, PEDESTRIAN, POLE = range(len(CLASSES))
FAR_M = 1e4
SUPERSAMPLE = 2  # canvas pixels per image pixel and direction: smooth edges


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole looking along the street."""

    focal_px: float
    centre_px: float  # column of the vanishing point
    horizon_px: float  # its row
    height_m: float


@dataclass(frozen=True)
class Plane:
    """The visible part of a rectangle facing the camera, with the metres of its pixels."""

    window: tuple[slice, slice]
    x_HW: Floats  # 1xW
    y_HW: Floats  # Hx1


@dataclass
class Canvas:
    """Layers of equal size; what is painted later hides what was there."""

    height_px: int
    width_px: int
    camera: Camera
    label_HW: NDArray[np.uint8] = field(init=False)
    albedo_HWC: Floats = field(init=False)
    shade_HW: Floats = field(init=False)  # share of the sun that arrives
    glow_HWC: Floats = field(init=False)  # light of its own
    depth_HW: Floats = field(init=False)
    right_W: Floats = field(init=False)  # 1xW: how far each pixel's ray goes right per metre ahead
    down_H: Floats = field(init=False)  # Hx1: and down
    ground_x_HW: Floats = field(init=False)  # the point of the ground each pixel's ray meets;
    ground_z_HW: Floats = field(init=False)  # negative above the horizon, where it meets none

    def __post_init__(self) -> None:
        """Start with sky everywhere."""
        size = (self.height_px, self.width_px)
        self.label_HW = np.full(size, SKY, np.uint8)
        self.albedo_HWC = np.zeros((*size, 3), np.float32)
        self.glow_HWC = np.zeros((*size, 3), np.float32)
        self.shade_HW = np.ones(size, np.float32)
        self.depth_HW = np.full(size, FAR_M, np.float32)
        columns = np.arange(self.width_px, dtype=np.float32) + 0.5 - self.camera.centre_px
        rows = np.arange(self.height_px, dtype=np.float32) + 0.5 - self.camera.horizon_px
        focal = np.float32(self.camera.focal_px)
        self.right_W, self.down_H = (columns / focal)[None, :], (rows / focal)[:, None]
        steep_H = np.where(np.abs(self.down_H) < 1e-4, np.float32(-1e-4), self.down_H)
        self.ground_z_HW = np.repeat(np.float32(self.camera.height_m) / steep_H, size[1], axis=1)
        self.ground_x_HW = self.right_W * self.ground_z_HW

    def plane(self, z: float, left: float, right: float, top: float) -> Plane | None:
        """Rectangle from the ground up to `top` at distance `z`; None when out of sight."""
        scale = self.camera.focal_px / z
        edges = [left * scale, right * scale]
        first, last = (round(edge + self.camera.centre_px) for edge in edges)
        highest = round(self.camera.horizon_px + (self.camera.height_m - top) * scale)
        lowest = round(self.camera.horizon_px + self.camera.height_m * scale)
        columns = slice(max(0, first), min(self.width_px, last + 1))
        rows = slice(max(0, highest), min(self.height_px, lowest + 1))
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return None
        x_HW = self.right_W[:, columns] * np.float32(z)
        y_HW = np.float32(self.camera.height_m) - self.down_H[rows] * np.float32(z)
        return Plane((rows, columns), x_HW, y_HW)

    def paint(
        self,
        window: tuple[slice, slice],
        where_HW: Bools,
        label: int,
        albedo: Floats | tuple[float, ...],
        depth: Floats | float,
    ) -> None:
        """Cover `where_HW` of the window; colour and depth are values or arrays of its size."""
        where_HWC = where_HW[:, :, None]
        np.copyto(self.label_HW[window], np.uint8(label), where=where_HW)
        np.copyto(self.albedo_HWC[window], np.asarray(albedo, np.float32), where=where_HWC)
        np.copyto(self.depth_HW[window], np.asarray(depth, np.float32), where=where_HW)
        np.copyto(self.shade_HW[window], np.float32(1), where=where_HW)
        np.copyto(self.glow_HWC[window], np.float32(0), where=where_HWC)

    def shine(
        self, window: tuple[slice, slice], where_HW: Bools, colour: tuple[float, float, float]
    ) -> None:
        """Let `where_HW` give light of its own."""
        light = np.asarray(colour, np.float32)
        np.copyto(self.glow_HWC[window], light, where=where_HW[:, :, None])


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> Floats:
    """HxW in about [0, 1]: three octaves of random grids, the coarsest `cells` wide."""
    total = np.zeros((height, width), np.float32)
    for octave in range(3):
        columns = cells * 2**octave
        rows = max(2, round(columns * height / width))
        grid = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
        total += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)) / 2**octave
    return total / np.float32(1.75)


def lookup(table: Floats, u: Floats, v: Floats) -> Floats:
    """Grain fixed to a surface: the table's value at whole `u`, `v`, repeated without end."""
    rows = np.floor(v).astype(np.int64) % table.shape[0]
    columns = np.floor(u).astype(np.int64) % table.shape[1]
    return table[rows, columns]
