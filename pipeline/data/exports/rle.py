"""Run-length encoding of binary masks as COCO publishes it (maskApi.h): uncompressed counts.

Pixels are read column by column; counts of 0 and 1 take turns, beginning with 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rle_counts(mask_HW: NDArray[np.bool_]) -> list[int]:
    """`[2, 3, 1, 1]` for 0 0 1 1 1 0 1, `[0, 6, 1]` for 1 1 1 1 1 1 0."""
    flat_N = mask_HW.ravel(order="F")
    changes = np.flatnonzero(flat_N[1:] != flat_N[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat_N.size]])).tolist()
    return [0, *counts] if flat_N[0] else counts
