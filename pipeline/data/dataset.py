"""Decoded images and masks as networks see them, kept in memory. C channels, H height, W width."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.config.params import ImageParams
from pipeline.data.formats.images import load_image, load_mask
from pipeline.errors import DataError
from pipeline.records.manifest import Sample
from pipeline.types import MAX_CLASSES


class ImageStore:
    """Each file is decoded and resized once, then kept as uint8 while `cache_mib` lasts.

    What came first stays: with random access over a set larger than the memory, throwing out the
    oldest would keep nothing useful. Returned tensors are shared: do not write to them.
    """

    def __init__(self, root: Path, image: ImageParams, cache_mib: int) -> None:
        """Files are read relative to the workspace `root`; they are not hashed here."""
        self.crop_size = image.crop_size
        self._image = image
        self._root = root
        self._free_bytes = cache_mib * 2**20
        self._kept: dict[str, torch.Tensor] = {}

    def image(self, sample: Sample) -> torch.Tensor:
        """uint8 CHW RGB at the size that networks see it at (bilinear with antialiasing)."""
        kept = self._kept.get(sample.image)
        if kept is not None:
            return kept
        return self._keep(sample.image, read_seen(self._root / sample.image, self._image))

    def mask(self, sample: Sample) -> torch.Tensor:
        """uint8 HW class indices at the size of its image (nearest); DataError without a mask."""
        if not sample.mask:
            raise DataError(f"{sample.sample_id}: has no mask; only labelled samples have one")
        kept = self._kept.get(sample.mask)
        if kept is not None:
            return kept
        # Class values were checked at ingest and merge; here every index is let through.
        mask_HW = load_mask(self._root / sample.mask, MAX_CLASSES)
        size = self._image.seen_size((mask_HW.shape[0], mask_HW.shape[1]))
        resized_HW = _resize(mask_HW, size, Image.Resampling.NEAREST)
        return self._keep(sample.mask, torch.from_numpy(resized_HW))

    def _keep(self, key: str, value: torch.Tensor) -> torch.Tensor:
        if value.nbytes <= self._free_bytes:
            self._kept[key] = value
            self._free_bytes -= value.nbytes
        return value


def read_seen(path: Path, image: ImageParams) -> torch.Tensor:
    """uint8 CHW RGB of a file at the size that networks see it at, all tiles together."""
    return _read(path, image.seen_size)


def read_overview(path: Path, image: ImageParams) -> torch.Tensor:
    """uint8 CHW RGB of a file seen whole, in its own shape and of about a crop's area."""
    return _read(path, image.overview_size)


def read_image(path: Path, size: tuple[int, int]) -> torch.Tensor:
    """uint8 CHW RGB of a file at height and width `size` (bilinear with antialiasing)."""
    return _read(path, lambda _: size)


def _read(path: Path, size_of: Callable[[tuple[int, int]], tuple[int, int]]) -> torch.Tensor:
    image_HWC = load_image(path)
    size = size_of((image_HWC.shape[0], image_HWC.shape[1]))
    resized_HWC = _resize(image_HWC, size, Image.Resampling.BILINEAR)
    return torch.from_numpy(resized_HWC).permute(2, 0, 1).contiguous()


def _resize(
    pixels: NDArray[np.uint8], size: tuple[int, int], how: Image.Resampling
) -> NDArray[np.uint8]:
    if pixels.shape[:2] == size:
        return np.array(pixels)  # from Pillow it may be read-only
    height_px, width_px = size
    return np.array(Image.fromarray(pixels).resize((width_px, height_px), how))
