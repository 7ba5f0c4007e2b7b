"""Errors that people make, planted into true masks. H height, W width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.types import IGNORE

Mask = NDArray[np.uint8]
BACKGROUND, NUCLEUS = 0, 1
FEWEST_PIXELS = 30  # of a nucleus that is taken away


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """One error."""

    row: int
    """Of the mask."""
    was: int
    """Class index before."""
    becomes: int
    """And now."""
    where_HW: NDArray[np.bool_]

    @property
    def pixels(self) -> int:
        """How many are wrong."""
        return int(self.where_HW.sum())


def swap_classes(
    masks: Sequence[Mask], count: int, least_share: float, rng: np.random.Generator
) -> list[Planted]:
    """In `count` masks, changed in place, one component becomes another class of that mask.

    Component and class are drawn uniformly; components smaller than `least_share` of the image are
    not. Masks without a choice are left out.
    """
    planted: list[Planted] = []
    for row in rng.permutation(len(masks)):
        mask_HW = masks[row]
        classes = np.unique(mask_HW[mask_HW != IGNORE])
        large = [one for one in _components(mask_HW) if one.sum() >= least_share * mask_HW.size]
        if len(planted) == count or not large or len(classes) < 2:
            continue
        where_HW = large[rng.integers(len(large))]
        was = int(mask_HW[where_HW][0])
        becomes = int(rng.choice(classes[classes != was]))
        mask_HW[where_HW] = becomes
        planted.append(Planted(row=int(row), was=was, becomes=becomes, where_HW=where_HW))
    return planted


def _components(mask_HW: Mask) -> Iterator[NDArray[np.bool_]]:
    for index in np.unique(mask_HW[mask_HW != IGNORE]):
        labels_HW, count = ndimage.label(mask_HW == index)
        for number in range(1, count + 1):
            yield labels_HW == number


def remove_nuclei(masks: Sequence[Mask], count: int, rng: np.random.Generator) -> list[Planted]:
    """`count` nuclei of all masks, changed in place, become background, their rims too.

    Drawn uniformly from those that touch no other and have at least FEWEST_PIXELS.
    """
    alone = []
    for row, mask_HW in enumerate(masks):
        things_HW, _ = ndimage.label(mask_HW != BACKGROUND, np.ones((3, 3)))
        for number, place in enumerate(ndimage.find_objects(things_HW), start=1):
            part_HW = things_HW[place] == number
            _, inner = ndimage.label(part_HW & (mask_HW[place] == NUCLEUS))
            if inner == 1 and part_HW.sum() >= FEWEST_PIXELS:
                alone.append((row, number, things_HW))
    planted = []
    for chosen in rng.choice(len(alone), count, replace=False):
        row, number, things_HW = alone[chosen]
        where_HW = things_HW == number
        masks[row][where_HW] = BACKGROUND
        planted.append(Planted(row=row, was=NUCLEUS, becomes=BACKGROUND, where_HW=where_HW))
    return planted
