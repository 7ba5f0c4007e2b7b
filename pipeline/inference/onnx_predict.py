"""An exported model on whole images, without torch: tiles, their weighted mean, the image's size.

`python -m pipeline.inference.onnx_predict MODEL.onnx IMAGE MASK.png` writes classes' numbers. The
file may be copied to where the model is used: it needs numpy, Pillow and onnxruntime alone, and
takes everything else from the model's metadata. It says what `pipeline.inference.tiles` and
`strips` say, written a second time for that reason; tests hold the two together. All logits of an
image are in memory: 4 bytes a class and pixel. C channels, K classes, H height, W width.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageOps

STRIDE_PX = 32  # tiles begin at multiples of it
OVERLAP = 0.25  # of a tile's side, at least
WHOLE = "squeeze"  # the scale of a model that sees every image whole, at a tile's size
NEEDED = ("classes", "mean", "std", "height_px", "width_px", "scale")
Floats = NDArray[np.float32]


class OnnxModel:
    """A file of `ssl-loop export`, on the CPU."""

    def __init__(self, file: Path) -> None:
        """ValueError for a file without what prediction needs to know."""
        self._session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        told = self._session.get_modelmeta().custom_metadata_map
        if missing := [name for name in NEEDED if name not in told]:
            raise ValueError(
                f"{file}: no {', '.join(missing)} in the metadata; write it anew by "
                "`ssl-loop export`"
            )
        self.classes: list[str] = json.loads(told["classes"])
        self._tile = int(told["height_px"]), int(told["width_px"])
        self._scale = None if told["scale"] == WHOLE else float(told["scale"])
        self._mean_C, self._std_C = (
            np.array(json.loads(told[name]), dtype=np.float32) for name in ("mean", "std")
        )

    def logits(self, image_HWC: NDArray[np.uint8]) -> Floats:
        """logits_KHW at the image's own size, of RGB."""
        size = image_HWC.shape[0], image_HWC.shape[1]
        seen = self._seen(size)
        resized = Image.fromarray(image_HWC).resize(seen[::-1], Image.Resampling.BILINEAR)
        return resize(self._tiled(np.asarray(resized)), size)

    def _seen(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width at which the model sees an image, all tiles together."""
        if self._scale is None:
            return self._tile
        return max(1, round(size[0] * self._scale)), max(1, round(size[1] * self._scale))

    def _tiled(self, seen_HWC: NDArray[np.uint8]) -> Floats:
        """logits_KHW of an image as it is seen: the mean of the tiles', less towards a border."""
        height, width, _ = seen_HWC.shape
        tops, lefts = (
            starts(side, tile) for side, tile in zip((height, width), self._tile, strict=True)
        )
        beyond = tops[-1] + self._tile[0] - height, lefts[-1] + self._tile[1] - width
        padding = [(0, max(0, rows)) for rows in beyond]
        padded_HWC = np.pad(seen_HWC, [*padding, (0, 0)], mode="edge")
        weight_HW = _ramp(self._tile[0])[:, None] * _ramp(self._tile[1])
        sum_KHW = np.zeros((len(self.classes), *padded_HWC.shape[:2]), dtype=np.float32)
        weights_HW = np.zeros(padded_HWC.shape[:2], dtype=np.float32)
        for top in tops:
            for left in lefts:
                inside = np.s_[top : top + self._tile[0], left : left + self._tile[1]]
                sum_KHW[:, *inside] += self._of_tile(padded_HWC[inside]) * weight_HW
                weights_HW[inside] += weight_HW
        return (sum_KHW / weights_HW)[:, :height, :width]

    def _of_tile(self, tile_HWC: NDArray[np.uint8]) -> Floats:
        normalised_HWC = (tile_HWC.astype(np.float32) / 255 - self._mean_C) / self._std_C
        images_1CHW = np.ascontiguousarray(normalised_HWC.transpose(2, 0, 1)[None])
        logits_1KHW: Any = self._session.run(["logits"], {"images": images_1CHW})[0]
        logits_KHW: Floats = logits_1KHW[0]
        return logits_KHW


def starts(side_px: int, tile_px: int) -> list[int]:
    """First pixels of the tiles along a side, evenly spread; one where it fits a tile."""
    steps = max(0, -(-(side_px - tile_px) // STRIDE_PX))
    longest = max(1, int(tile_px * (1 - OVERLAP)) // STRIDE_PX)
    gaps = -(-steps // longest)
    return [0] + [round(number * steps / gaps) * STRIDE_PX for number in range(1, gaps + 1)]


def resize(logits_KHW: Floats, size: tuple[int, int]) -> Floats:
    """At height and width `size`: bilinear between the centres of pixels, rows first."""
    return _along(_along(logits_KHW, 1, size[0]), 2, size[1])


def _along(values_KHW: Floats, axis: int, count: int) -> Floats:
    before = values_KHW.shape[axis]
    if before == count:
        return values_KHW
    ratio = np.float32(before / count)
    source = ((np.arange(count, dtype=np.float32) + 0.5) * ratio - 0.5).clip(min=0)
    first = np.minimum(source.astype(np.intp), before - 1)
    second = np.minimum(first + 1, before - 1)
    part = np.float32(source - first).reshape((-1, 1) if axis == 1 else -1)
    start = values_KHW.take(first, axis)
    found: Floats = start + part * (values_KHW.take(second, axis) - start)
    return found


def _ramp(side: int) -> Floats:
    """weight_H of a tile's pixels: 1 in the middle, falling evenly over OVERLAP to each border."""
    from_border = np.arange(side, dtype=np.float32) + 0.5
    from_border = np.minimum(from_border, side - from_border)
    return (from_border / (OVERLAP * side)).clip(max=1).astype(np.float32)


def main() -> None:
    """One image to one mask."""
    parser = argparse.ArgumentParser(description="Write the mask that a model gives for an image.")
    parser.add_argument("model", type=Path, help="what `ssl-loop export` wrote")
    parser.add_argument("image", type=Path, help="RGB or grey, 8 bits a channel")
    parser.add_argument("mask", type=Path, help="the PNG to write: class numbers, from 0")
    args = parser.parse_args()
    with Image.open(args.image) as image:
        image_HWC = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    logits_KHW = OnnxModel(args.model).logits(image_HWC)
    Image.fromarray(logits_KHW.argmax(axis=0).astype(np.uint8)).save(args.mask)


if __name__ == "__main__":
    main()
