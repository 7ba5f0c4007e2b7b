"""How far two people's masks of an image agree, class by class. H height, W width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.metrics.tolerance import Near
from pipeline.types import IGNORE

Mask = NDArray[np.uint8]
TOLERANCE_PX = 2.0  # a border that is painted so far beside is the same border


class ClassAgreement(NamedTuple):
    """Of one class, in pixels that both labelled; of several images they are added up."""

    both: int
    """Pixels that both gave the class."""
    either: int
    """Pixels that one of them did."""
    borders: Near
    """The pixels of one's borders that have the other's within the tolerance."""

    def plus(self, other: ClassAgreement) -> ClassAgreement:
        """Of both."""
        return ClassAgreement(
            self.both + other.both, self.either + other.either, self.borders.plus(other.borders)
        )

    @property
    def jaccard(self) -> float | None:
        """Intersection over union in [0, 1]; None where nobody gave the class."""
        return self.both / self.either if self.either else None

    @property
    def boundary_f(self) -> float | None:
        """Harmonic mean of the shares of either's border that the other has, in [0, 1] (Martin et
        al. 2004); None where neither has a border."""
        recall, precision = self.borders.recall, self.borders.precision
        if recall is None and precision is None:
            return None
        if not recall or not precision:
            return 0.0
        return 2 * recall * precision / (recall + precision)


def agreement(
    one_HW: Mask, other_HW: Mask, tolerance_px: float = TOLERANCE_PX
) -> dict[int, ClassAgreement]:
    """`class index -> agreement` of the classes that either gave; symmetric in the two masks.

    Pixels that one of them left without a label do not count. ValueError for unequal sizes.
    """
    if one_HW.shape != other_HW.shape:
        raise ValueError(f"masks of {one_HW.shape} and {other_HW.shape}: expected equal sizes")
    valid_HW = (one_HW != IGNORE) & (other_HW != IGNORE)
    found = {}
    for index in np.union1d(one_HW[valid_HW], other_HW[valid_HW]):
        first_HW, second_HW = ((mask_HW == index) & valid_HW for mask_HW in (one_HW, other_HW))
        found[int(index)] = ClassAgreement(
            both=int((first_HW & second_HW).sum()),
            either=int((first_HW | second_HW).sum()),
            borders=Near.counted(
                _border(first_HW, valid_HW), _border(second_HW, valid_HW), tolerance_px
            ),
        )
    return found


def mean_jaccard(found: Mapping[int, ClassAgreement]) -> float | None:
    """Over the classes; None without any pixel that both labelled."""
    values = [one.jaccard for one in found.values() if one.jaccard is not None]
    return sum(values) / len(values) if values else None


def _border(where_HW: NDArray[np.bool_], valid_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels with a neighbour of another class; what lies beyond the valid pixels is no border."""
    inner_HW = ndimage.binary_erosion(where_HW | ~valid_HW, border_value=1)
    border_HW: NDArray[np.bool_] = where_HW & ~inner_HW
    return border_HW
