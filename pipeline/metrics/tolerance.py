"""Recall and precision within a distance, for what is too thin for IoU (Shi et al. 2016).

A line of two pixels that is found one pixel beside where somebody painted it has an IoU of a third.
H height, W width.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Bools = NDArray[np.bool_]


class Near(NamedTuple):
    """Pixels of one class, counted; of several images they are added up."""

    found: int
    """True ones that have a predicted one within the distance."""
    true: int
    right: int
    """Predicted ones that have a true one within the distance."""
    predicted: int

    @classmethod
    def counted(cls, predicted_HW: Bools, truth_HW: Bools, within_px: float) -> Self:
        """Of one image; Euclidean distances between the centres of pixels."""
        return cls(
            found=int((truth_HW & _near(predicted_HW, within_px)).sum()),
            true=int(truth_HW.sum()),
            right=int((predicted_HW & _near(truth_HW, within_px)).sum()),
            predicted=int(predicted_HW.sum()),
        )

    def plus(self, other: Near) -> Near:
        """Of both."""
        return Near(*(one + more for one, more in zip(self, other, strict=True)))

    @property
    def recall(self) -> float | None:
        """In [0, 1]; None where nothing is true."""
        return self.found / self.true if self.true else None

    @property
    def precision(self) -> float | None:
        """In [0, 1]; None where nothing is predicted."""
        return self.right / self.predicted if self.predicted else None


def _near(there_HW: Bools, within_px: float) -> Bools:
    if not there_HW.any():
        return there_HW
    near_HW: Bools = ndimage.distance_transform_edt(~there_HW) <= within_px
    return near_HW
