"""Folds of a domain's images for cross-validation: sequences, told apart by names.

N images, F folds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

ENOUGH = 5  # sequences that say how sequences differ
STRETCHES = 3  # of a sequence where there are fewer
MAX_FOLDS = 12  # each costs a fit of the reference


def folds_of(names: Sequence[str]) -> NDArray[np.intp]:
    """Fold of each of N sorted names: a whole sequence, so that no image is compared with its own.

    Frames of one drive resemble each other more than the next drive's, so a fold is a whole
    sequence: names that are equal but for the number at their end. With fewer than `ENOUGH` of
    them, and where one has most of the images, it is a stretch of a sequence. More than
    `MAX_FOLDS` are put together by neighbours. Images named by chance are a sequence each.
    """
    sequences = [list(group) for _, group in groupby(range(len(names)), lambda i: _stem(names[i]))]
    few = len(sequences) < ENOUGH
    pieces = [
        stretch
        for sequence in sequences
        for stretch in np.array_split(
            sequence, STRETCHES if few or 2 * len(sequence) > len(names) else 1
        )
        if len(stretch)
    ]
    fold_N = np.empty(len(names), dtype=np.intp)
    for index, piece in enumerate(pieces):
        fold_N[piece] = index * min(len(pieces), MAX_FOLDS) // len(pieces)
    return fold_N


def _stem(name: str) -> str:
    return re.sub(r"\d+$", "", name)
