"""Small pictures for a page: overlays, heat maps and pseudo-labels as JPEG data URIs.

Shape suffixes: H height, W width, C = 3 colours.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.class_colours import rgb
from pipeline.data.formats.images import load_image
from pipeline.records.regions import Box, framed, inside

Pixels = NDArray[np.uint8]

LONG_SIDE_PX = 420  # sharp at the size shown on a laptop; 16 query items stay near 2 MB
QUALITY = 80  # of the JPEG
PAINT = 0.65  # of a class colour over its pixels: both stay recognisable
STRIPE_PX = 8  # period of the hatching, two of them light
# What a score of 0 and 1 look like, and between: dark to bright, so that grey print works too.
HEAT = ("#000004", "#3b0f70", "#8c2981", "#de4968", "#fe9f6d", "#fcfdbf")


def small_image(
    path: Path, boxes: Sequence[Box] = (), *, long_side_px: int = LONG_SIDE_PX
) -> Pixels:
    """The image, its long side at most so long; DataError if it cannot be read.

    With boxes, these are framed and the rest is dimmed, as annotators see it.
    """
    image_HWC = load_image(path)
    shown_HWC = framed(image_HWC, boxes) if boxes else image_HWC
    return np.asarray(_shrunk(Image.fromarray(shown_HWC), long_side_px))


def overlay(
    image_HWC: Pixels, mask_path: Path, colours: Sequence[str], boxes: Sequence[Box] = ()
) -> Pixels:
    """The small image with every class painted in its colour; with boxes, only inside them."""
    painted_HWC = painted(image_HWC, _small_grey(mask_path, image_HWC), colours)
    if not boxes:
        return painted_HWC
    with Image.open(mask_path) as opened:
        asked = Image.fromarray(inside(boxes, (opened.height, opened.width)))
    small_HW = np.asarray(asked.resize((image_HWC.shape[1], image_HWC.shape[0])))
    return np.where(small_HW[:, :, None], painted_HWC, image_HWC)


def heat_map(uncertainty_path: Path) -> Pixels:
    """An 8-bit map from dark (0) to bright (255)."""
    with Image.open(uncertainty_path) as opened:
        return heat_table()[np.asarray(_shrunk(opened.convert("L")))]


def pseudo_label(
    image_HWC: Pixels, mask_path: Path, confidence_path: Path, colours: Sequence[str], tau: float
) -> Pixels:
    """The painted small image where confidence reaches `tau`; elsewhere grey and hatched."""
    painted_HWC = painted(image_HWC, _small_grey(mask_path, image_HWC), colours)
    reliable_HW = _small_grey(confidence_path, image_HWC) >= tau * 255
    grey_HW = image_HWC.mean(axis=2) * 0.4 + 70
    rows, columns = np.indices(grey_HW.shape)
    grey_HW[(rows + columns) % STRIPE_PX < 2] += 60
    grey_HWC = np.repeat(grey_HW[:, :, None], 3, axis=2).clip(0, 255).astype(np.uint8)
    return np.where(reliable_HW[:, :, None], painted_HWC, grey_HWC)


def heat_table() -> Pixels:
    """256x3: the colour of every 8-bit value."""
    stops = np.array([rgb(colour) for colour in HEAT], dtype=np.float64)
    places = np.linspace(0, 255, len(stops))
    channels = [np.interp(np.arange(256), places, stops[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def data_uri(pixels_HWC: Pixels) -> str:
    """`data:image/jpeg;base64,...`: the same pixels give the same text."""
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def painted(image_HWC: Pixels, mask_HW: Pixels, colours: Sequence[str]) -> Pixels:
    """Every class over the pixels in its colour; values without one, as IGNORE, stay unpainted."""
    table = np.zeros((256, 3))
    table[: len(colours)] = [rgb(colour) for colour in colours]
    paint_HW1 = PAINT * (mask_HW < len(colours))[:, :, None]
    blended_HWC = image_HWC * (1 - paint_HW1) + table[mask_HW] * paint_HW1
    return blended_HWC.round().astype(np.uint8)


def _small_grey(path: Path, like_HWC: Pixels) -> Pixels:
    """Nearest pixels, so that a class index stays one."""
    height_px, width_px = like_HWC.shape[:2]
    with Image.open(path) as opened:
        return np.asarray(opened.resize((width_px, height_px), Image.Resampling.NEAREST))


def _shrunk(image: Image.Image, long_side_px: int = LONG_SIDE_PX) -> Image.Image:
    """Never enlarged."""
    scale = min(1.0, long_side_px / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)
