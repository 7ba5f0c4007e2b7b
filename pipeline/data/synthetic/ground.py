"""Road, pavement and the shadows on them: the plane Y = 0, found by one ray per pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.data.synthetic.canvas import PAVEMENT, ROAD, Canvas, lookup, smooth_noise

MARKING = np.array((0.78, 0.78, 0.74), np.float32)
MARKED_UP_TO_M = 45.0  # beyond, paint is thinner than a pixel
WHOLE = (slice(None), slice(None))


@dataclass(frozen=True, kw_only=True)
class Road:
    """Cross-section of a street and where another crosses it."""

    centre_m: float
    half_m: float
    left_pavement_m: float
    right_pavement_m: float
    cross_m: tuple[float, float] | None  # near and far edge of the crossing street

    def edge(self, side: int) -> float:
        """X where the pavement ends on the left (-1) or right (+1)."""
        pavement = self.left_pavement_m if side < 0 else self.right_pavement_m
        return self.centre_m + side * (self.half_m + pavement)


def paint_ground(canvas: Canvas, road: Road, rng: np.random.Generator) -> None:
    """Road with markings and patches, pavements with slabs and kerbs."""
    x_HW, z_HW = canvas.ground_x_HW, canvas.ground_z_HW
    below = z_HW > 0
    from_centre = np.abs(x_HW - road.centre_m)
    on_road = from_centre < road.half_m
    if road.cross_m:
        on_road |= (z_HW > road.cross_m[0]) & (z_HW < road.cross_m[1])
    grain = rng.random((64, 64), dtype=np.float32)
    # Wear in patches of some metres, and grain of some centimetres.
    wear = smooth_noise(rng, canvas.height_px, canvas.width_px, 5) - 0.5
    speckle = lookup(grain, x_HW * 9, z_HW * 3) - 0.5
    tone = rng.uniform(0.15, 0.27)
    tint = rng.normal(1, 0.03, 3).astype(np.float32)
    asphalt = (tone + 0.10 * wear + 0.05 * speckle)[:, :, None] * tint
    canvas.paint(WHOLE, below & on_road, ROAD, asphalt, z_HW)
    _paint_markings(canvas, road, rng)
    slab = lookup(grain, x_HW / 0.9, z_HW / 0.9) - 0.5
    joint = np.minimum(np.mod(x_HW, 0.9), np.mod(z_HW, 0.9)) < 0.07
    pale = rng.uniform(0.40, 0.56)
    tiles = pale + 0.08 * slab + 0.06 * wear - 0.08 * (joint & (z_HW < 14))
    stone = rng.normal(1, 0.03, 3).astype(np.float32) * np.array([1.14, 0.98, 0.86], np.float32)
    canvas.paint(WHOLE, below & ~on_road, PAVEMENT, tiles[:, :, None] * stone, z_HW)
    kerb = below & ~on_road & (from_centre < road.half_m + 0.18)
    canvas.albedo_HWC[kerb] = np.float32(pale + 0.14)


def _paint_markings(canvas: Canvas, road: Road, rng: np.random.Generator) -> None:
    x_HW, z_HW = canvas.ground_x_HW, canvas.ground_z_HW
    from_centre = x_HW - road.centre_m
    near = (z_HW > 0) & (z_HW < MARKED_UP_TO_M)
    dash_m, shift_m = rng.uniform(4, 8), rng.uniform(0, 8)
    dashes = np.mod(z_HW + shift_m, dash_m) < dash_m / 2
    lines = (np.abs(from_centre) < 0.10) & dashes
    if rng.random() < 0.6:
        lines |= np.abs(np.abs(from_centre) - road.half_m + 0.35) < 0.07
    if road.cross_m:
        inside = (z_HW > road.cross_m[0] - 0.5) & (z_HW < road.cross_m[1] + 0.5)
        zebra = (z_HW > road.cross_m[0] - 3.5) & (z_HW < road.cross_m[0] - 0.8)
        stripes = np.mod(from_centre, 1.0) < 0.5
        on_road = np.abs(from_centre) < road.half_m - 0.3
        lines = (lines & ~inside & ~zebra) | (zebra & stripes & on_road)
    worn = smooth_noise(rng, canvas.height_px, canvas.width_px, 12) > rng.uniform(0.2, 0.45)
    canvas.albedo_HWC[near & lines & worn & (canvas.label_HW == ROAD)] = MARKING


def cast_shadow(canvas: Canvas, x: float, z: float, half_m: tuple[float, float]) -> None:
    """Darken an ellipse of the ground around (x, z): what stands there lets no light under it."""
    z_H = canvas.ground_z_HW[:, 0]
    rows = np.flatnonzero(np.abs(z_H - z) < half_m[1])
    if len(rows) == 0:
        return
    window = slice(int(rows[0]), int(rows[-1]) + 1)
    x_HW, z_HW = canvas.ground_x_HW[window], canvas.ground_z_HW[window]
    inside = ((x_HW - x) / half_m[0]) ** 2 + ((z_HW - z) / half_m[1]) ** 2 < 1
    label_HW = canvas.label_HW[window]
    ground = (label_HW == ROAD) | (label_HW == PAVEMENT)
    canvas.albedo_HWC[window][inside & ground] *= np.float32(0.45)
