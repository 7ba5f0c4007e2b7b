"""How a probe is trained where nobody says otherwise: its size of images, steps and rate."""

from __future__ import annotations

import math

from pipeline.config.params import ImageParams, Params
from pipeline.types import STRIDE_PX

PROBE = "probe"  # the row of MODELS
SEEN_PIXELS = 1920 * 1080  # of an image: what an encoder sees of it in about a second
TILE_PX = 640  # its longest side: nothing is kept for a gradient, so that tiles may be large
# Of the head; the same that the fast backtest takes. On CamVid's val 2,000 steps gained nothing.
STEPS, LEARNING_RATE = 600, 1e-2


def probe_image(size: tuple[int, int]) -> ImageParams:
    """How a probe sees images of `size` (height, width): all their pixels, or SEEN_PIXELS."""
    scale = min(1.0, math.sqrt(SEEN_PIXELS / (size[0] * size[1])))
    height, width = (
        min(TILE_PX, math.ceil(round(side * scale) / STRIDE_PX) * STRIDE_PX) for side in size
    )
    return ImageParams(height_px=height, width_px=width, scale=scale)


def probe_params(params: Params, size: tuple[int, int]) -> Params:
    """`params` for a probe on the same encoder and labels, of images of `size`."""
    return params.with_method("supervised").with_knobs(
        image=probe_image(size).model_dump(),
        model={"name": PROBE, "options": {}, "contender": "none"},
        train={"steps": STEPS, "learning_rate": LEARNING_RATE},
    )
