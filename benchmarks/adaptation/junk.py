"""Junk among a domain's images, as it comes from real cameras and disks: a fifth of the pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

JUNK = "junk"  # how the names of such images begin
SHARE = 0.2  # of the pool, junk counted
BLUR_PX = 8
COVERED = (30, 5)  # grey level and noise of a covered lens


def write_junk(folder: Path, pool: Sequence[Path], foreign: Sequence[Path]) -> list[str]:
    """As many files in `folder` as make SHARE of the pool; their stems.

    In turn: covered lenses, images of the pool blurred beyond use, pictures of other scenes.
    """
    count = round(len(pool) * SHARE / (1 - SHARE))
    with Image.open(pool[0]) as first:
        size = first.size
    rng = np.random.default_rng(0)
    kinds: tuple[Callable[[int], Image.Image], ...] = (
        lambda _: covered(size, rng),
        lambda at: blurred(pool[at * len(pool) // count]),
        lambda at: scene(foreign[at * len(foreign) // count], size),
    )
    stems = [f"{JUNK}-{at:03}" for at in range(count)]
    for at, stem in enumerate(stems):
        kinds[at % len(kinds)](at).save(folder / f"{stem}.png")
    return stems


def covered(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Nothing but noise."""
    level, noise = COVERED
    pixels_HWC = rng.normal(level, noise, (size[1], size[0], 3))
    return Image.fromarray(pixels_HWC.clip(0, 255).astype(np.uint8))


def blurred(path: Path) -> Image.Image:
    """An image out of focus."""
    with Image.open(path) as image:
        return image.convert("RGB").filter(ImageFilter.GaussianBlur(BLUR_PX))


def scene(path: Path, size: tuple[int, int]) -> Image.Image:
    """A picture of something else, at the size of the others."""
    with Image.open(path) as image:
        return image.convert("RGB").resize(size)
