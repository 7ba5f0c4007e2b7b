"""All masks of a set judged, each by a model that did not learn from it.

N images, P cells of an image, D features of a cell, K classes, h and w an image's size in cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.label_errors.label_quality import softmin_score, thresholds_of
from pipeline.label_errors.out_of_fold import cross_fit
from pipeline.label_errors.suspect_components import Suspect, suspects
from pipeline.runtime.progress import Progress


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedMask:
    """What is to be said of one mask."""

    row: int
    """Of the image in what was judged."""
    quality: float
    """Soft minimum over the pixels (label_quality.softmin_score), in [0, 1]."""
    suspects: tuple[Suspect, ...]
    """Worst first."""

    @property
    def score(self) -> float:
        """Of the worst part; 0 where there is none."""
        return self.suspects[0].score if self.suspects else 0.0


def judge_masks(
    cells_NPD: NDArray[np.float16],
    masks_NP: NDArray[np.uint8],
    size_hw: tuple[int, int],
    num_classes: int,
    seed: int = 0,
) -> list[JudgedMask]:
    """Every image's mask, the likeliest error first; ValueError for fewer than 2 images."""
    fitted = cross_fit(cells_NPD, masks_NP, num_classes, seed)
    rows = range(len(masks_NP))
    thresholds_K = thresholds_of(((fitted.probs(row), masks_NP[row]) for row in rows), num_classes)
    found = []
    with Progress("masks", len(masks_NP)) as progress:
        for row in rows:
            probs_PK = fitted.probs(row)
            worst = suspects(
                probs_PK.reshape(*size_hw, -1), masks_NP[row].reshape(size_hw), thresholds_K
            )
            found.append(
                JudgedMask(
                    row=row,
                    quality=softmin_score(probs_PK, masks_NP[row]),
                    suspects=tuple(worst),
                )
            )
            progress.advance()
    return sorted(found, key=lambda mask: (-mask.score, mask.quality, mask.row))
