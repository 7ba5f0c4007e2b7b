"""Decoded images and masks as networks see them. C channels, H height, W width, R rows.

Small ones are kept in memory; large ones, and those that find no memory, are mapped from disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import BufferedWriter
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline import layout
from pipeline.config.params import ImageParams
from pipeline.data.formats.images import (
    PixelStrip,
    image_size,
    image_strips,
    load_mask,
)
from pipeline.errors import DataError
from pipeline.records.manifest import Sample
from pipeline.runtime.kept_files import KeptArrays
from pipeline.types import MAX_CLASSES

LARGE = 1 << 25  # bytes: an image of 11 megapixels
IN_PARTS = 1 << 24  # pixels of an image that is resized: more are not resized at once
Rows = Iterator[NDArray[np.uint8]]
SizeOf = Callable[[tuple[int, int]], tuple[int, int]]


class ImageStore:
    """Each file is decoded and resized once, then kept as uint8 while `cache_mib` lasts.

    What came first stays: with random access over a set larger than the memory, throwing out the
    oldest would keep nothing useful. What is LARGE by itself, or finds no memory left, lies decoded
    in the workspace, at most `decoded_gib` of it, and is mapped: crops and tiles read what they
    need. With no memory at all small images are decoded each time. The same pixels in each case.
    Returned tensors are shared: do not write to them.
    """

    def __init__(
        self,
        root: Path,
        image: ImageParams,
        cache_mib: int,
        decoded_gib: float = 0.0,
    ) -> None:
        """Files are read relative to the workspace `root`; they are not hashed here."""
        self.crop_size = image.crop_size
        self._image = image
        self._root = root
        self._in_memory = cache_mib > 0
        self._free_bytes = cache_mib * 2**20
        self._kept: dict[str, torch.Tensor] = {}
        self._files = KeptArrays(
            root / layout.DECODED, decoded_gib, "decoded images", make_room=True
        )

    def image(self, sample: Sample) -> torch.Tensor:
        """uint8 CHW RGB at the size that networks see it at (bilinear with antialiasing)."""
        kept = self._kept.get(sample.image)
        if kept is not None:
            return kept
        path = self._root / sample.image
        size = self._image.seen_size(image_size(path))
        mapped = self._mapped(
            sample.image_sha256, (*size, 3), lambda: resized_rows(path, self._image.seen_size)
        )
        if mapped is not None:
            return mapped.permute(2, 0, 1)
        return self._keep(sample.image, read_seen(path, self._image))

    def mask(self, sample: Sample) -> torch.Tensor:
        """uint8 HW class indices at the size of its image (nearest); DataError without a mask."""
        if not sample.mask:
            raise DataError(f"{sample.sample_id}: has no mask; only labelled samples have one")
        kept = self._kept.get(sample.mask)
        if kept is not None:
            return kept
        path = self._root / sample.mask
        size = self._image.seen_size(image_size(path))
        mapped = self._mapped(sample.mask_sha256, size, lambda: iter([_mask(path, size)]))
        return (
            self._keep(sample.mask, torch.from_numpy(_mask(path, size)))
            if mapped is None
            else mapped
        )

    def _mapped(
        self, sha256: str, shape: tuple[int, ...], rows: Callable[[], Rows]
    ) -> torch.Tensor | None:
        """A file's pixels from disk, decoded there first where they are not; None without room."""
        num_bytes = math.prod(shape)
        crowded = self._in_memory and num_bytes > self._free_bytes
        if not sha256 or not (num_bytes > LARGE or crowded):
            return None
        name = f"{sha256}-{shape[0]}x{shape[1]}.npy"
        file = self._root / layout.DECODED / sha256[:2] / name
        found = self._files.read(file, np.uint8, mapped=True)
        if found is None or found.shape != shape:
            if not self._files.write(file, num_bytes, partial(_write, shape, rows)):
                return None
            found = self._files.read(file, np.uint8, mapped=True)
        return None if found is None else torch.from_numpy(found)

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


def _read(path: Path, size_of: SizeOf) -> torch.Tensor:
    resized_HWC = np.concatenate(list(resized_rows(path, size_of)))
    return torch.from_numpy(resized_HWC).permute(2, 0, 1).contiguous()


class SeenImage(NamedTuple):
    """An image as networks see it."""

    size: tuple[int, int]
    """Its own height and width, upright."""
    pixels_CHW: torch.Tensor
    """uint8 RGB at the size that networks see it at."""


def seen_image(strips: Iterator[PixelStrip], image: ImageParams) -> SeenImage:
    """As `read_seen`, of an image whose rows come from anywhere; DataError where none come."""
    first = next(strips, None)
    if first is None:
        raise DataError("an image without a row, expected at least one pixel")
    rows = list(resized_strips(chain([first], strips), image.seen_size))
    pixels_CHW = torch.from_numpy(np.concatenate(rows)).permute(2, 0, 1).contiguous()
    return SeenImage(first.size, pixels_CHW)


def resized_rows(path: Path, size_of: SizeOf) -> Rows:
    """`resized_strips` of a file."""
    return resized_strips(image_strips(path), size_of)


def resized_strips(strips: Iterable[PixelStrip], size_of: SizeOf) -> Rows:
    """uint8 pixels_RWC of an image from the top, at the height and width that `size_of` gives.

    More than IN_PARTS pixels are resized in parts: the rows of some strips, then some columns of
    what comes of all. Where Pillow takes the columns first a value may differ by 1 from the whole.
    """
    narrow_HWC = np.empty((0, 0, 3), dtype=np.uint8)
    for size, first, pixels_RWC in strips:
        seen = size_of(size)
        if seen == size:
            yield pixels_RWC
            continue
        width = min(size[1], seen[1]) if math.prod(size) > IN_PARTS else size[1]
        if first == 0:
            narrow_HWC = np.empty((size[0], width, 3), dtype=np.uint8)
        rows = len(pixels_RWC)
        narrow_HWC[first : first + rows] = _resize(pixels_RWC, (rows, width))
    if not narrow_HWC.size:
        return
    if narrow_HWC.shape[1] != seen[1]:
        yield _resize(narrow_HWC, seen)
        return
    resized_HWC = np.empty((*seen, 3), dtype=np.uint8)
    step = max(1, IN_PARTS // size[0])
    for left in range(0, seen[1], step):
        part_HWC = narrow_HWC[:, left : left + step]
        resized_HWC[:, left : left + step] = _resize(part_HWC, (seen[0], part_HWC.shape[1]))
    yield resized_HWC


def _resize(pixels_HWC: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = size
    if pixels_HWC.shape[:2] == size:
        return pixels_HWC
    resized = Image.fromarray(pixels_HWC).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def _mask(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    # Class values were checked at ingest and merge; here every index is let through.
    mask_HW = load_mask(path, MAX_CLASSES)
    if mask_HW.shape == size:
        return np.array(mask_HW)  # from Pillow it may be read-only
    height, width = size
    return np.array(Image.fromarray(mask_HW).resize((width, height), Image.Resampling.NEAREST))


def _write(shape: tuple[int, ...], rows: Callable[[], Rows], out: BufferedWriter) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)  # type: ignore[no-untyped-call]
    for part in rows():
        out.write(np.ascontiguousarray(part).data)
