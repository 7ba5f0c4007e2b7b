"""Which images of a domain were taken together, by their names.

N images, F folds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

NUM_BLOCKS = 5  # of a domain that is one sequence, or as good as one
MAX_FOLDS = 10  # each costs a fit of the reference


def folds_of(names: Sequence[str]) -> NDArray[np.intp]:
    """Fold of each of N sorted names; what lies in one fold is never judged by its like.

    Frames of one drive resemble each other more than the next drive's, so a fold is a whole
    sequence: names that are equal but for the number at their end. One that leaves too few others
    to judge it by is cut into stretches; more sequences than `MAX_FOLDS` are put together by
    neighbours. Images named by chance are a sequence each.
    """
    sequences = [list(group) for _, group in groupby(range(len(names)), lambda i: _stem(names[i]))]
    longest = len(names) - len(names) / NUM_BLOCKS
    pieces = [
        stretch
        for sequence in sequences
        for stretch in np.array_split(sequence, NUM_BLOCKS if len(sequence) > longest else 1)
        if len(stretch)
    ]
    fold_N = np.empty(len(names), dtype=np.intp)
    for index, piece in enumerate(pieces):
        fold_N[piece] = index * min(len(pieces), MAX_FOLDS) // len(pieces)
    return fold_N


def _stem(name: str) -> str:
    return re.sub(r"\d+$", "", name)
