"""Bands of logits at the scale that networks see become strips of rows at an image's own size.

K classes, R rows of a strip or band, H height, W width, M places.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.inference.tiles import Band, View

STRIP = 1 << 18  # values of one opinion at once, 1 MiB: what a second-level cache holds


class LogitStrip(NamedTuple):
    """Some rows of an image at its own size."""

    rows: slice
    logits: dict[View, Tensor]
    """logits_KRW of every view, on the device."""


def strips_of(bands: Iterable[dict[View, Band]], size: tuple[int, int]) -> Iterator[LogitStrip]:
    """All rows of an image of `size` (height, width), in order, a few at a time.

    Bilinear on pixel areas (align_corners=False) where it was seen at another size.
    """
    done, before = 0, dict[View, Band]()
    for found in bands:
        seen = {view: _joined(before.get(view), band) for view, band in found.items()}
        one = next(iter(seen.values()))
        ready = _ready(one, size)
        step = max(1, STRIP // (len(one.values_KRW) * size[1]))
        for first in range(done, ready, step):
            rows = slice(first, min(first + step, ready))
            resized = {view: resize_rows(band, size, rows) for view, band in seen.items()}
            yield LogitStrip(rows, resized)
        done = max(done, ready)
        before = {view: _from(band, _source(done, band, size)) for view, band in seen.items()}
        del found, seen, one  # before the next band is made


def resize_rows(band: Band, size: tuple[int, int], rows: slice) -> Tensor:
    """Some rows of an image resized to `size`, from a band that has all that they are made of."""
    logits_KRW, first, height = band
    if (height, logits_KRW.shape[2]) == size:
        return logits_KRW[:, rows.start - first : rows.stop - first]
    wanted = torch.arange(rows.start, rows.stop, device=logits_KRW.device)
    source = ((wanted + 0.5) * (height / size[0]) - 0.5).clamp(min=0)
    above = source.long().clamp(max=height - 1)
    below = (above + 1).clamp(max=height - 1)
    part = (source - above)[:, None]
    between_KRW = torch.lerp(logits_KRW[:, above - first], logits_KRW[:, below - first], part)
    shape = (len(wanted), size[1])
    return F.interpolate(between_KRW[None], shape, mode="bilinear", align_corners=False)[0]


class LogitsAt:
    """The logits at some places of an image, gathered strip by strip."""

    def __init__(self, place_M: NDArray[np.intp], width: int) -> None:
        """Places in reading order of an image of `width`; they need not be sorted."""
        self._place_M, self._width = place_M, width
        self._found: list[NDArray[np.float32]] = []
        self._order: list[NDArray[np.intp]] = []

    def add(self, rows: slice, logits_KRW: Tensor) -> None:
        """What lies in the strip."""
        first = rows.start * self._width
        count = logits_KRW.shape[1] * self._width
        inside_N = np.flatnonzero((self._place_M >= first) & (self._place_M < first + count))
        place_N = torch.from_numpy(self._place_M[inside_N] - first).to(logits_KRW.device)
        self._found.append(logits_KRW.flatten(1)[:, place_N].T.cpu().numpy())
        self._order.append(inside_N)

    @property
    def logits_MK(self) -> NDArray[np.float32]:
        """In the order of the places, once all strips were added."""
        found_MK = np.concatenate(self._found)
        ordered_MK = np.empty_like(found_MK)
        ordered_MK[np.concatenate(self._order)] = found_MK
        return ordered_MK


def _joined(before: Band | None, band: Band) -> Band:
    if before is None or not before.values_KRW.shape[1]:
        return band
    values_KRW = torch.cat([before.values_KRW, band.values_KRW], dim=1)
    return Band(values_KRW, before.first, band.height)


def _from(band: Band, row: int) -> Band:
    """What later strips need of it, from `row` on; a copy, so that the rest can go."""
    start = min(max(row - band.first, 0), band.values_KRW.shape[1])
    return Band(band.values_KRW[:, start:].clone(), band.first + start, band.height)


def _ready(band: Band, size: tuple[int, int]) -> int:
    """How many rows of an image of `size` the seen ones decide, so far."""
    if band.end >= band.height:
        return size[0]
    if (band.height, band.values_KRW.shape[2]) == size:
        return band.end
    if band.end == 1:
        return 0
    # A row's centre lies between those of two seen rows; one is held back for float32's rounding.
    return max(0, math.floor((band.end - 0.5) * size[0] / band.height - 0.5) - 1)


def _source(row: int, band: Band, size: tuple[int, int]) -> int:
    """The first seen row that `row` and later ones of an image of `size` are made of."""
    if (band.height, band.values_KRW.shape[2]) == size:
        return row
    return max(0, math.floor((row + 0.5) * band.height / size[0] - 0.5) - 1)
