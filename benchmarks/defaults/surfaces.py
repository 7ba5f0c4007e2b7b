"""Photographs of a surface at 1920x1080 with discs of 12 pixels and cracks of 2.

Drawn from a seed, with exact masks. What one could take for them is there as well: larger blobs,
spots of the same size out of focus, smooth seams, bright scratches. H height, W width, C colours.
"""

from __future__ import annotations

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.formats.images import save_mask
from pipeline.data.synthetic.canvas import Floats, smooth_noise

CLASSES = ("ground", "disc", "crack", "moss")
GROUND, DISC, CRACK, MOSS = range(len(CLASSES))
DOMAIN = "surface"
HEIGHT_PX, WIDTH_PX = 1080, 1920
DISC_PX, CRACK_PX = 12.0, 2.0  # diameter, width
NUM_TRAIN, NUM_TEST = 90, 20
TONES = ((0.52, 0.50, 0.47), (0.44, 0.46, 0.50), (0.58, 0.52, 0.44))
MOSS_TONE = np.array((0.30, 0.36, 0.20), np.float32)
ROUND_TONES = (0.2, 0.74)
MARGIN_PX = 3  # around a shape: beyond, its edge covers nothing


@dataclass
class _Surface:
    """The picture under construction."""

    image_HWC: Floats
    mask_HW: NDArray[np.uint8]
    rng: np.random.Generator

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def anywhere(self) -> tuple[float, float]:
        """A row and a column."""
        height, width = self.mask_HW.shape
        return self.between(0, height), self.between(0, width)

    def window(self, points: Floats, reach_px: float) -> tuple[slice, slice]:
        """Rows and columns around `points` (row, column), inside the image."""
        low = np.floor(points.min(0) - reach_px).astype(int).clip(0)
        high = np.ceil(points.max(0) + reach_px).astype(int).clip(0) + 1
        return slice(low[0], high[0]), slice(low[1], high[1])

    def shade(self, window: tuple[slice, slice], share_HW: Floats, factor: float) -> None:
        """Multiply by `factor` as far as `share_HW` covers a pixel."""
        self.image_HWC[window] *= 1 + share_HW[:, :, None] * np.float32(factor - 1)

    def cover(self, window: tuple[slice, slice], share_HW: Floats, tone_C: Floats) -> None:
        """Paint with `tone_C` as far as `share_HW` covers a pixel."""
        self.image_HWC[window] += share_HW[:, :, None] * (tone_C - self.image_HWC[window])


def make_surfaces(
    out: Path, *, num_train: int = NUM_TRAIN, num_test: int = NUM_TEST, seed: int = 0
) -> None:
    """Write `out`/images, masks, classes.csv, splits.csv (id, split, domain); equal seed, bytes."""
    splits = {"train": num_train, "test": num_test}
    (out / "images").mkdir(parents=True)
    (out / "masks").mkdir()
    rows = []
    numbered = [
        (place, split, number)
        for place, (split, count) in enumerate(splits.items())
        for number in range(count)
    ]
    for place, split, number in numbered:
        image_HWC, mask_HW = draw_surface(np.random.default_rng([seed, place, number]))
        stem = f"{split}_{number:04d}"
        Image.fromarray(image_HWC).save(out / f"images/{stem}.png", compress_level=1)
        save_mask(out / f"masks/{stem}.png", mask_HW)
        rows.append((stem, split, DOMAIN))
    _write_csv(out / "classes.csv", [("index", "name"), *enumerate(CLASSES)])
    _write_csv(out / "splits.csv", [("id", "split", "domain"), *rows])


def draw_surface(
    rng: np.random.Generator, height_px: int = HEIGHT_PX, width_px: int = WIDTH_PX
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """image_HWC and mask_HW of one photograph."""
    tone = np.array(TONES[rng.integers(len(TONES))], np.float32)
    grain_HW = _grain(rng, height_px, width_px)
    surface = _Surface(
        image_HWC=tone * grain_HW[:, :, None],
        mask_HW=np.full((height_px, width_px), GROUND, np.uint8),
        rng=rng,
    )
    _grow_moss(surface)
    for _ in range(rng.integers(1, 4)):
        _seam(surface)
    for _ in range(rng.integers(4, 10)):
        _blob(surface)
    for _ in range(rng.integers(10, 25)):
        _blurred_spot(surface)
    for _ in range(rng.integers(2, 6)):
        _stroke(surface, _walk(surface, bend=0.02), factor=surface.between(1.2, 1.5))
    for _ in range(rng.integers(2, 6)):
        _stroke(surface, _walk(surface, bend=0.35), factor=surface.between(0.35, 0.65), label=CRACK)
    for _ in range(rng.integers(15, 40)):
        _disc(surface)
    return _photographed(surface), surface.mask_HW


def _grain(rng: np.random.Generator, height: int, width: int) -> Floats:
    """What a rough surface looks like: clouds, pores, and grains of a few pixels."""
    clouds_HW = smooth_noise(rng, height, width, 6) - 0.5
    pores_HW = smooth_noise(rng, height, width, 160) - 0.5
    fine_HW = rng.standard_normal((height // 2, width // 2), dtype=np.float32)
    grains = Image.fromarray(fine_HW).resize((width, height), Image.Resampling.BICUBIC)
    grains_HW = 0.06 * np.asarray(grains, np.float32)
    return (1 + 0.35 * clouds_HW + 0.30 * pores_HW + grains_HW).astype(np.float32)


def _grow_moss(surface: _Surface) -> None:
    """Large patches with ragged borders."""
    height, width = surface.mask_HW.shape
    where_HW = smooth_noise(surface.rng, height, width, 5) - 0.5
    where_HW += 0.15 * (smooth_noise(surface.rng, height, width, 60) - 0.5)
    height_HW = where_HW - np.float32(surface.between(0.12, 0.25))
    rough_HW = 0.6 + 0.8 * smooth_noise(surface.rng, height, width, 240)
    share_HWC = (height_HW * 60 + 0.5).clip(0, 1)[:, :, None]
    surface.image_HWC += share_HWC * (MOSS_TONE * rough_HW[:, :, None] - surface.image_HWC)
    surface.mask_HW[height_HW > 0] = MOSS


def _seam(surface: _Surface) -> None:
    """A straight joint across the whole image, 5 to 10 pixels wide without an edge."""
    height, width = surface.mask_HW.shape
    row, column = surface.anywhere()
    angle = surface.between(0, np.pi)
    rows_HW, columns_HW = np.ogrid[0:height, 0:width]
    off_HW = (rows_HW - row) * np.cos(angle) - (columns_HW - column) * np.sin(angle)
    share_HW = np.exp(-np.square(off_HW.astype(np.float32) / surface.between(2.5, 5)))
    surface.shade((slice(None), slice(None)), share_HW, surface.between(0.5, 0.8))


def _blob(surface: _Surface) -> None:
    """As sharp as a disc and of its tones, but two to six times as wide."""
    _round(surface, surface.between(12, 36))


def _disc(surface: _Surface) -> None:
    """What is looked for."""
    _round(surface, DISC_PX / 2, label=DISC)


def _round(surface: _Surface, radius: float, label: int = GROUND) -> None:
    """Dark or bright, with a pixel's share at the edge; it hides what lies below."""
    centre = np.array([surface.anywhere()], np.float32)
    window = surface.window(centre, radius + MARGIN_PX)
    far_HW = _distance(surface, window, centre[0])
    tone_C = surface.rng.choice(ROUND_TONES) * surface.rng.uniform(0.85, 1.15, 3)
    surface.cover(window, (radius + 0.5 - far_HW).clip(0, 1), tone_C.astype(np.float32))
    surface.mask_HW[window][far_HW < radius] = label


def _blurred_spot(surface: _Surface) -> None:
    """As dark and as wide as a disc, out of focus."""
    centre = np.array([surface.anywhere()], np.float32)
    sigma = surface.between(4, 8)
    window = surface.window(centre, 3 * sigma)
    share_HW = np.exp(-np.square(_distance(surface, window, centre[0]) / sigma) / 2)
    surface.shade(window, share_HW, surface.between(0.45, 0.7))


def _walk(surface: _Surface, bend: float) -> Floats:
    """A line of segments of 6 pixels; `bend`: radians it turns at each, a standard deviation."""
    num = int(surface.rng.integers(40, 150))
    heading_N = surface.between(0, 2 * np.pi) + surface.rng.normal(0, bend, num).cumsum() * 0.7
    heading_N += surface.rng.normal(0, bend, num)
    steps_N2 = 6 * np.stack([np.sin(heading_N), np.cos(heading_N)], axis=1)
    return (np.array(surface.anywhere()) + steps_N2.cumsum(0)).astype(np.float32)


def _stroke(surface: _Surface, points_N2: Floats, factor: float, label: int | None = None) -> None:
    """A line CRACK_PX wide; a pixel takes as much of it as its nearest part covers."""
    far_HW = np.full(surface.mask_HW.shape, np.inf, np.float32)
    for first, last in itertools.pairwise(points_N2):
        window = surface.window(np.stack([first, last]), CRACK_PX / 2 + MARGIN_PX)
        if far_HW[window].size:
            nearer_HW = _distance(surface, window, first, last)
            np.minimum(far_HW[window], nearer_HW, out=far_HW[window])
    whole = (slice(None), slice(None))
    surface.shade(whole, (CRACK_PX / 2 + 0.5 - far_HW).clip(0, 1), factor)
    if label is not None:
        surface.mask_HW[far_HW < CRACK_PX / 2] = label


def _distance(
    surface: _Surface, window: tuple[slice, slice], first: Floats, last: Floats | None = None
) -> Floats:
    """Pixels from each pixel's centre to a point, or to the segment between two."""
    shape = surface.mask_HW[window].shape
    rows_HW, columns_HW = np.ogrid[0 : shape[0], 0 : shape[1]]
    down_HW = (rows_HW + window[0].start + 0.5 - first[0]).astype(np.float32)
    right_HW = (columns_HW + window[1].start + 0.5 - first[1]).astype(np.float32)
    if last is not None:
        along = last - first
        share_HW = (down_HW * along[0] + right_HW * along[1]) / np.square(along).sum()
        share_HW = share_HW.clip(0, 1)
        down_HW, right_HW = down_HW - share_HW * along[0], right_HW - share_HW * along[1]
    distance_HW: Floats = np.hypot(down_HW, right_HW)
    return distance_HW


def _photographed(surface: _Surface) -> NDArray[np.uint8]:
    """Uneven light, a darker edge, exposure, sensor noise."""
    height, width = surface.mask_HW.shape
    light_HW = 0.75 + 0.5 * smooth_noise(surface.rng, height, width, 2)
    down_HW, right_HW = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light_HW *= 1 - np.float32(surface.between(0, 0.3)) * (down_HW**2 + right_HW**2) / 2
    light_HW *= np.float32(surface.between(0.85, 1.2))
    image_HWC = surface.image_HWC * light_HW.astype(np.float32)[:, :, None]
    image_HWC += 0.012 * surface.rng.standard_normal(image_HWC.shape, dtype=np.float32)
    return (image_HWC.clip(0, 1) * 255).round().astype(np.uint8)


def _write_csv(path: Path, rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
