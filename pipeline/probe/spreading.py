"""A correction spread to cells that look alike, as A2LC (arXiv 2506.11599) spreads corrections.

Only within the image that a person corrected, which is one of the pool: what judges is never
spread to. P cells of an image, D features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.campaign.corrections import Correction

LEAST_NORM = 1e-6


def alike(
    cells_PD: NDArray[np.float16],
    shown_HW: NDArray[np.uint8],
    correction: Correction,
    similarity: float,
) -> NDArray[np.intp]:
    """The cells that a correction says something about: connected (4 neighbours) with a corrected
    one, shown as the same class as it, and of features whose cosine with the corrected cells' mean
    is at least `similarity`; the corrected cells are among them where they are alike themselves.
    """
    from scipy.ndimage import label

    at_M = correction.rows * shown_HW.shape[1] + correction.columns
    vectors_PD = cells_PD.astype(np.float32)
    vectors_PD /= np.maximum(np.linalg.norm(vectors_PD, axis=1, keepdims=True), LEAST_NORM)
    mean_D = vectors_PD[at_M].mean(axis=0)
    cosines_P = vectors_PD @ (mean_D / max(float(np.linalg.norm(mean_D)), LEAST_NORM))
    like_HW = (cosines_P >= similarity).reshape(shown_HW.shape)
    like_HW &= np.isin(shown_HW, shown_HW[correction.rows, correction.columns])
    number_HW, _ = label(like_HW)
    wanted = np.unique(number_HW[correction.rows, correction.columns])
    return np.flatnonzero(np.isin(number_HW, wanted[wanted > 0]))
