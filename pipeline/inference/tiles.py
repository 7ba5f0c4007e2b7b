"""Images larger than a network sees at once: overlapping tiles, and one answer out of theirs.

B tiles, C channels, K values of a pixel or of a cell, H height, W width.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config.network import Normalisation
from pipeline.data.augment import normalise
from pipeline.types import STRIDE_PX

OVERLAP = 0.25  # of a tile's side, at least: near its border a network sees half of what is around
BATCH = 8  # tiles per pass; more saves no time on a CPU
MANY = 64  # tiles of a large image: a last pass that is not full costs it nothing

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


class Band(NamedTuple):
    """Some rows of what a view gives for an image, of which no further tile says anything."""

    values_KRW: Tensor
    """Float32 on the device; R may be 0 in the last band of cells."""
    first: int
    """The first of them, from 0."""
    height: int
    """Rows of all bands of the image together."""

    @property
    def end(self) -> int:
        """The row after the last."""
        return self.first + self.values_KRW.shape[1]


Bands = Iterator[dict[View, Band]]
"""An image's bands from the top, each with what every view gives for the same rows of pixels."""


def tiled(
    images: Iterable[tuple[Key, Tensor]], views: Sequence[View], settings: TileSettings
) -> Iterator[tuple[Key, Bands]]:
    """Each image, a uint8 CHW by its key, with what every view gives for it, in order.

    Logits of the image's height and width come in bands of rows: a row of tiles is there at a time,
    never a large image. The bands of one image are to be taken before the next one. What fits one
    tile is seen whole, padded bottom and right by its last pixels: one band. In a larger image
    tiles overlap by a quarter or more; there the mean of their logits counts, weighing less towards
    a tile's border. Tiles of different images share a pass, but for large ones. A view may give
    cells of several pixels instead of logits.
    """
    found = _bands(images, views, settings)
    for mosaic, first in found:
        bands = _of_one(mosaic, first, found)
        yield mosaic.key, bands
        for _ in bands:  # what nobody took
            pass


def _of_one(
    mosaic: _Mosaic, first: dict[View, Band], found: Iterator[tuple[_Mosaic, dict[View, Band]]]
) -> Bands:
    """One image's bands; after its last one nothing of the next image is looked at."""
    yield first
    while not mosaic.complete:
        yield next(found)[1]


def _bands(
    images: Iterable[tuple[Key, Tensor]], views: Sequence[View], settings: TileSettings
) -> Iterator[tuple[_Mosaic, dict[View, Band]]]:
    waiting: deque[_Mosaic] = deque()

    def mosaics() -> Iterator[_Mosaic]:
        for key, image_CHW in images:
            waiting.append(_Mosaic(key, image_CHW, settings.tile))
            del image_CHW  # the mosaic lets it go when all bands are given
            yield waiting[-1]

    for group in _groups(mosaics(), max(1, BATCH // len(views))):
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
        while waiting:
            mosaic = waiting[0]
            for bands in mosaic.finished(views):
                yield mosaic, bands
            if not mosaic.complete:
                break
            waiting.popleft()


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

    @property
    def pixels_CHW(self) -> Tensor:
        return self.mosaic.pixels(self.place.top, self.place.left)


class _Mosaic:
    """One image's tiles, and what was seen in them so far."""

    def __init__(self, key: Any, image_CHW: Tensor, tile: tuple[int, int]) -> None:
        self.key = key
        self._image_CHW, self._tile = image_CHW, tile
        height, width = image_CHW.shape[-2:]
        self._layout = _Layout(starts(height, tile[0]), starts(width, tile[1]), tile)
        self._means: dict[View, _RowOfTiles] = {}
        self._given = 0

    @property
    def num_tiles(self) -> int:
        """Of the image."""
        return len(self._layout.tops) * len(self._layout.lefts)

    def tiles(self) -> Iterator[_Tile]:
        for top in self._layout.tops:
            for left in self._layout.lefts:
                yield _Tile(self, TilePlace(self.key, top, left))

    def add(self, tile: _Tile, view: View, values_KHW: Tensor) -> None:
        """The tiles of a view in the order of `tiles`."""
        if view not in self._means:
            height, width = self._image_CHW.shape[-2:]
            self._means[view] = _RowOfTiles(self._layout, (height, width))
        self._means[view].add(tile.place.left, values_KHW)

    def finished(self, views: Sequence[View]) -> Bands:
        """Bands that every view has come past and nobody got yet."""
        while all(view in self._means and self._means[view].done for view in views):
            self._given += 1
            bands = {view: self._means[view].done.popleft() for view in views}
            if self.complete:  # a large image is not needed while its bands are made use of
                self._means.clear()
                self._image_CHW = torch.empty(0, 0, 0)
            yield bands

    @property
    def complete(self) -> bool:
        """Whether all bands were given."""
        return self._given == len(self._layout.tops)

    def pixels(self, top: int, left: int) -> Tensor:
        """The image's last rows and columns again where the tile reaches beyond them."""
        height, width = self._image_CHW.shape[-2:]
        inside_CHW = self._image_CHW[:, top : top + self._tile[0], left : left + self._tile[1]]
        if inside_CHW.shape[-2:] == self._tile:
            return inside_CHW
        rows = torch.arange(self._tile[0]).clamp(max=height - top - 1)
        columns = torch.arange(self._tile[1]).clamp(max=width - left - 1)
        return inside_CHW[:, rows][:, :, columns]


class _Layout(NamedTuple):
    """Where the tiles of an image lie, in pixels."""

    tops: list[int]
    lefts: list[int]
    tile: tuple[int, int]


class _RowOfTiles:
    """Weighted mean of the tiles' values, one row of tiles at a time, at the size of one view."""

    def __init__(self, layout: _Layout, size: tuple[int, int]) -> None:
        """Of an image of `size` (height, width)."""
        self.done: deque[Band] = deque()
        self._layout, self._size = layout, size
        self._row = 0
        self._sum_KRW = self._weight_RW = torch.empty(0)

    def add(self, left: int, values_KHW: Tensor) -> None:
        """The next tile, whose first column is `left`; after the last of a row there is a band."""
        tops, lefts, tile = self._layout
        if len(tops) == len(lefts) == 1:
            height, width = self._cells((values_KHW.shape[1], values_KHW.shape[2]))
            self.done.append(Band(values_KHW[:, :height, :width], 0, height))
            return
        values_KHW = _aligned(values_KHW, tile)
        cells = (values_KHW.shape[1], values_KHW.shape[2])
        if not self._sum_KRW.numel():
            padded = (lefts[-1] + tile[1]) * cells[1] // tile[1]
            self._sum_KRW = values_KHW.new_zeros(len(values_KHW), cells[0], padded)
            self._weight_RW = torch.zeros_like(self._sum_KRW[0])
        weight_HW = _ramp(cells[0], values_KHW)[:, None] * _ramp(cells[1], values_KHW)
        column = left * cells[1] // tile[1]
        self._sum_KRW[:, :, column : column + cells[1]] += values_KHW * weight_HW
        self._weight_RW[:, column : column + cells[1]] += weight_HW
        if left == lefts[-1]:
            self._finish(cells)

    def _finish(self, cells: tuple[int, int]) -> None:
        """What the next row of tiles does not reach is a band; the rest moves up."""
        tops, _, tile = self._layout
        height, width = self._cells(cells)
        ends = [*(top * cells[0] // tile[0] for top in tops[1:]), height]
        first, self._row = tops[self._row] * cells[0] // tile[0], self._row + 1
        rows = ends[self._row - 1] - first
        band_KRW = self._sum_KRW[:, :rows, :width] / self._weight_RW[:rows, :width]
        self.done.append(Band(band_KRW, first, height))
        for sums in (self._sum_KRW, self._weight_RW):
            sums[..., : cells[0] - rows, :] = sums[..., rows:, :].clone()
            sums[..., cells[0] - rows :, :] = 0

    def _cells(self, cells: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns without what lies beyond the image, of a tile of `cells`."""
        height, width = (
            max(1, round(side * count / of_tile))
            for side, count, of_tile in zip(self._size, cells, self._layout.tile, strict=True)
        )
        return height, width


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


def _groups(mosaics: Iterable[_Mosaic], size: int) -> Iterator[list[_Tile]]:
    """Tiles for each pass; beside those of a large image no other is in memory."""
    group: list[_Tile] = []
    for mosaic in mosaics:
        for tile in mosaic.tiles():
            group.append(tile)
            if len(group) == size:
                yield group
                group = []
        if group and mosaic.num_tiles > MANY:
            yield group
            group = []
    if group:
        yield group
