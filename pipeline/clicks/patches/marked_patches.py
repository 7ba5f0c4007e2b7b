"""Marks of an annotator as patches of a prepared image. N patches, S marked ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.clicks.marks import BoxMark, Click, Mark
from pipeline.clicks.patches.prepared_image import PreparedImage

Bools = NDArray[np.bool_]
Places = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class MarkedPatches:
    """Which patches marks say something about, and the same in pixels of the image."""

    positive_S: Places
    negative_S: Places
    outside_N: Bools
    """What no box reaches, where there is a box."""
    clicked: tuple[tuple[int, int], ...]
    """Pixels that belong to the thing; the middle of each box where nothing was clicked."""
    refused: tuple[tuple[int, int], ...]
    boxes: tuple[tuple[slice, slice], ...]

    @property
    def count(self) -> int:
        """Marked patches."""
        return len(self.positive_S) + len(self.negative_S)

    @property
    def fixed_N(self) -> NDArray[np.float32]:
        """1 and 0 where marks leave no choice, NaN elsewhere."""
        fixed_N = np.where(self.outside_N, np.float32(0), np.float32(np.nan))
        fixed_N[self.negative_S] = 0
        fixed_N[self.positive_S] = 1
        return fixed_N


def marked_patches(image: PreparedImage, marks: Sequence[Mark]) -> MarkedPatches:
    """A patch under a positive and a negative click is positive; its pixels tell the two apart."""
    clicks = [mark for mark in marks if isinstance(mark, Click)]
    boxes = [mark for mark in marks if isinstance(mark, BoxMark)]
    wanted = [click for click in clicks if click.positive] or [_middle(box) for box in boxes]
    unwanted = [click for click in clicks if not click.positive]
    positive = {_patch(image, click) for click in wanted}
    negative = {_patch(image, click) for click in unwanted} - positive
    return MarkedPatches(
        positive_S=np.array(sorted(positive), np.intp),
        negative_S=np.array(sorted(negative), np.intp),
        outside_N=_outside(image, boxes),
        clicked=tuple(click.pixel(image.size) for click in wanted),
        refused=tuple(click.pixel(image.size) for click in unwanted),
        boxes=tuple(box.window(image.size) for box in boxes),
    )


def _patch(image: PreparedImage, click: Click) -> int:
    place = click.pixel(image.size)
    shape, size = image.patch_hw.shape, image.size
    row, column = (int((place[i] + 0.5) * shape[i] / size[i]) for i in range(2))
    return int(image.patch_hw[row, column])


def _middle(box: BoxMark) -> Click:
    return Click((box.top + box.bottom) / 2, (box.left + box.right) / 2)


def _outside(image: PreparedImage, boxes: Sequence[BoxMark]) -> Bools:
    outside_N = np.full(len(image.colour_N3), bool(boxes))
    shape = (image.patch_hw.shape[0], image.patch_hw.shape[1])
    down, across = (few / many for few, many in zip(shape, image.size, strict=True))
    for box in boxes:
        small = BoxMark(box.top * down, box.left * across, box.bottom * down, box.right * across)
        outside_N[image.patch_hw[small.window(shape)]] = False
    return outside_N
