"""Images larger than a network sees at once: overlapping tiles, and one answer out of theirs.

B tiles, C channels, K values of a pixel or of a cell, H height, W width.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config.network import Normalisation
from pipeline.data.augment import normalise
from pipeline.types import STRIDE_PX

OVERLAP = 0.25  # of a tile's side, at least: near its border a network sees half of what is around
BATCH = 8  # tiles per pass; more saves no time on a CPU

Key = TypeVar("Key")
View = Callable[[Tensor], Tensor]
"""One way to look: normalised images_BCHW to logits_BKHW of the same height and width."""


class TilePlace(NamedTuple):
    """Where a tile was cut."""

    key: Any
    """Of the image."""
    top: int
    left: int


@dataclass(frozen=True, eq=False)
class PlacedView:
    """A view that is told which tiles it is shown, for who remembers them."""

    at: Callable[[Sequence[TilePlace], Tensor], Tensor]

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Only with places: TypeError."""
        raise TypeError("a PlacedView looks at tiles by `at`")


class TileSettings(NamedTuple):
    """How tiles are shown to networks."""

    tile: tuple[int, int]
    """Height and width in pixels, multiples of 32."""
    normalisation: Normalisation
    device: torch.device


def tiled(
    images: Iterable[tuple[Key, Tensor]], views: Sequence[View], settings: TileSettings
) -> Iterator[tuple[Key, dict[View, Tensor]]]:
    """Each image, a uint8 CHW by its key, with what every view gives for it, in order.

    Float32 logits_KHW on the device, of the image's height and width. What fits one tile is seen
    whole, padded bottom and right by its last pixels. In a larger image tiles overlap by a quarter
    or more; there the mean of their logits counts, weighing less towards a tile's border. Tiles of
    different images share a pass. A view may give cells of several pixels instead of logits.
    """
    waiting: deque[tuple[Key, _Mosaic]] = deque()

    def tiles() -> Iterator[_Tile]:
        for key, image_CHW in images:
            mosaic = _Mosaic(key, image_CHW, settings.tile)
            waiting.append((key, mosaic))
            yield from mosaic.tiles()

    for group in _groups(tiles(), max(1, BATCH // len(views))):
        pixels_BCHW = torch.stack([tile.pixels_CHW for tile in group]).to(settings.device)
        normalised_BCHW = normalise(pixels_BCHW, settings.normalisation)
        for view in views:
            with torch.inference_mode():
                if isinstance(view, PlacedView):
                    values_BKHW = view.at([tile.place for tile in group], normalised_BCHW)
                else:
                    values_BKHW = view(normalised_BCHW).float()
            for tile, values_KHW in zip(group, values_BKHW, strict=True):
                tile.mosaic.add(tile, view, values_KHW)
        while waiting and waiting[0][1].complete(views):
            key, mosaic = waiting.popleft()
            yield key, {view: mosaic.values_of(view) for view in views}


def starts(side_px: int, tile_px: int) -> list[int]:
    """First pixels of the tiles along a side, multiples of 32; one where it fits a tile.

    Evenly spread, as few as overlap by OVERLAP of a tile; the last may reach beyond the side.
    """
    steps = max(0, -(-(side_px - tile_px) // STRIDE_PX))  # of the stride, to the last tile
    longest = max(1, int(tile_px * (1 - OVERLAP)) // STRIDE_PX)
    gaps = -(-steps // longest)
    return [0] + [round(number * steps / gaps) * STRIDE_PX for number in range(1, gaps + 1)]


def cut(key: Any, image_CHW: Tensor, tile: tuple[int, int]) -> Iterator[tuple[TilePlace, Tensor]]:
    """The tiles of an image, padded bottom and right by its last pixels, as `tiled` shows them."""
    for part in _Mosaic(key, image_CHW, tile).tiles():
        yield part.place, part.pixels_CHW


class _Tile(NamedTuple):
    mosaic: _Mosaic
    place: TilePlace
    pixels_CHW: Tensor


class _Mosaic:
    """One image's tiles, and what was seen in them so far."""

    def __init__(self, key: Any, image_CHW: Tensor, tile: tuple[int, int]) -> None:
        self._key, self._image_CHW, self._tile = key, image_CHW, tile
        height, width = image_CHW.shape[-2:]
        self._tops, self._lefts = starts(height, tile[0]), starts(width, tile[1])
        self._means: dict[View, _Mean] = {}

    def tiles(self) -> Iterator[_Tile]:
        for top in self._tops:
            for left in self._lefts:
                yield _Tile(self, TilePlace(self._key, top, left), self._pixels(top, left))

    def add(self, tile: _Tile, view: View, values_KHW: Tensor) -> None:
        if view not in self._means:
            self._means[view] = _Mean(self._tops, self._lefts, self._tile)
        self._means[view].add(tile.place.top, tile.place.left, values_KHW)

    def complete(self, views: Sequence[View]) -> bool:
        return all(view in self._means and self._means[view].missing == 0 for view in views)

    def values_of(self, view: View) -> Tensor:
        height, width = self._image_CHW.shape[-2:]
        return self._means.pop(view).over(height, width)

    def _pixels(self, top: int, left: int) -> Tensor:
        """The image's last rows and columns again where the tile reaches beyond them."""
        height, width = self._image_CHW.shape[-2:]
        inside_CHW = self._image_CHW[:, top : top + self._tile[0], left : left + self._tile[1]]
        if inside_CHW.shape[-2:] == self._tile:
            return inside_CHW
        rows = torch.arange(self._tile[0]).clamp(max=height - top - 1)
        columns = torch.arange(self._tile[1]).clamp(max=width - left - 1)
        return inside_CHW[:, rows][:, :, columns]


class _Mean:
    """Weighted mean of the tiles' values, at the size that one view gives them."""

    def __init__(self, tops: list[int], lefts: list[int], tile: tuple[int, int]) -> None:
        self._last = tops[-1], lefts[-1]
        self._tile = tile
        self._sum_KHW = self._weight_HW = torch.empty(0)
        self.missing = len(tops) * len(lefts)

    def add(self, top: int, left: int, values_KHW: Tensor) -> None:
        self.missing -= 1
        if self._last == (0, 0):
            self._sum_KHW, self._weight_HW = values_KHW, torch.ones_like(values_KHW[0])
            return
        values_KHW = _aligned(values_KHW, self._tile)
        cells = values_KHW.shape[-2:]
        row, column = top * cells[0] // self._tile[0], left * cells[1] // self._tile[1]
        if not self._sum_KHW.numel():
            all_cells = (
                (last + side) * count // side
                for last, side, count in zip(self._last, self._tile, cells, strict=True)
            )
            self._sum_KHW = values_KHW.new_zeros(len(values_KHW), *all_cells)
            self._weight_HW = torch.zeros_like(self._sum_KHW[0])
        weight_HW = _ramp(cells[0], values_KHW)[:, None] * _ramp(cells[1], values_KHW)
        place = slice(row, row + cells[0]), slice(column, column + cells[1])
        self._sum_KHW[:, *place] += values_KHW * weight_HW
        self._weight_HW[place] += weight_HW

    def over(self, height: int, width: int) -> Tensor:
        """Without what lies beyond an image of so many pixels."""
        whole = [last + side for last, side in zip(self._last, self._tile, strict=True)]
        cells = self._weight_HW.shape
        rows, columns = (
            max(1, round(side * count / padded))
            for side, count, padded in zip((height, width), cells, whole, strict=True)
        )
        return (self._sum_KHW / self._weight_HW)[:, :rows, :columns]


def _aligned(values_KHW: Tensor, tile: tuple[int, int]) -> Tensor:
    """The values in cells whose borders meet those of the next tile's: tiles begin every 32 px."""
    strides = [side / count for side, count in zip(tile, values_KHW.shape[-2:], strict=True)]
    if all(STRIDE_PX % stride == 0 for stride in strides):
        return values_KHW
    return F.adaptive_avg_pool2d(values_KHW, (tile[0] // STRIDE_PX, tile[1] // STRIDE_PX))


def _ramp(cells: int, like: Tensor) -> Tensor:
    """weight_H of a tile's cells: 1 in the middle, falling evenly over OVERLAP to each border."""
    from_border = torch.arange(cells, device=like.device, dtype=like.dtype) + 0.5
    from_border = torch.minimum(from_border, cells - from_border)
    return (from_border / (OVERLAP * cells)).clamp(max=1)


def _groups(tiles: Iterator[_Tile], size: int) -> Iterator[list[_Tile]]:
    while group := list(islice(tiles, size)):
        yield group
