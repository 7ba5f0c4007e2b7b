"""Heads on frozen features, none of which judges a mask that it learnt from.

N images, P cells of an image, D features of a cell, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.probe import head
from pipeline.runtime.progress import Progress
from pipeline.types import IGNORE

FOLDS = 5  # a head learns from four fifths of the masks and judges the others
STEPS = 300  # of each head: half of a fast backtest's, and as good at finding planted errors
MOST_CELLS = 2_000_000  # that a head learns from: half a gigabyte on its way


@dataclass(frozen=True, kw_only=True, eq=False)
class OutOfFold:
    """A head for each fold of the images, trained on all the others."""

    heads: list[head.HeadWithPast]
    fold_N: NDArray[np.intp]
    cells_NPD: NDArray[np.float16]

    def probs(self, row: int) -> NDArray[np.float32]:
        """probs_PK of an image by the head that did not learn from its mask."""
        network = self.heads[self.fold_N[row]]
        _, probs_NPK = next(head.probs_of(network, self.cells_NPD[row : row + 1]))
        found: NDArray[np.float32] = probs_NPK[0].numpy()
        return found


def cross_fit(
    cells_NPD: NDArray[np.float16],
    masks_NP: NDArray[np.uint8],
    num_classes: int,
    seed: int = 0,
) -> OutOfFold:
    """Heads of min(FOLDS, N) folds drawn at random; ValueError for fewer than 2 images.

    The same seed gives the same bits.
    """
    num = len(cells_NPD)
    if num < 2:
        raise ValueError(f"{num} image(s): two at least, for one to judge the other")
    folds = min(FOLDS, num)
    rng = np.random.default_rng(seed)
    fold_N = rng.permutation(num) % folds
    heads = []
    with Progress("heads that judge masks", folds) as progress:
        for fold in range(folds):
            known_NP = (masks_NP != IGNORE) & (fold_N != fold)[:, None]
            rows, columns = np.nonzero(known_NP)
            if len(rows) > MOST_CELLS:
                kept = rng.choice(len(rows), MOST_CELLS, replace=False)
                rows, columns = rows[kept], columns[kept]
            learnt = cells_NPD[rows, columns], masks_NP[rows, columns]
            heads.append(head.fit(*learnt, num_classes, seed * folds + fold, head.training(STEPS)))
            progress.advance()
    return OutOfFold(heads=heads, fold_N=fold_N, cells_NPD=cells_NPD)
