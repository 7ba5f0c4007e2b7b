"""Blocks of consecutive images that are too alike to count as one each, as for a block bootstrap.

N images in order of their names, E features of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]
Runs = NDArray[np.int64]
"""run_N: the number of the run that an image is in."""

LONGEST = 20  # images; as the blocks that benchmarks hold out
LAGS = (1, 2, 5, 10, LONGEST)
ALIKE = 0.2  # of the autocorrelation: below, images count as drawn one by one


def run_length(groups: Sequence[Embeddings]) -> int:
    """Length of a block, 1 to 20 images: 1 where neighbours are no more alike than any two.

    The smallest lag at which the autocorrelation of the embeddings fades, of the group where it
    lasts longest; never more images than a group has.
    """
    longest = max(_fades_at(group_NE) for group_NE in groups)
    return max(1, min(longest, *(len(group_NE) for group_NE in groups)))


def runs_of(num_images: int, length: int) -> Runs:
    """Block of each image, `length` images long; the last of several is at least half as long.

    A rest of a few images would count as much as a whole run.
    """
    count = max(1, round(num_images / length))
    return np.minimum(np.arange(num_images) // length, count - 1)


def evenly(num_images: int, most: int) -> NDArray[np.int64]:
    """Indices of at most so many images, evenly over all of them."""
    places = np.linspace(0, num_images - 1, min(num_images, most))
    return places.round().astype(np.int64)


def _fades_at(group_NE: Embeddings) -> int:
    spread = 2 * float(group_NE.var(axis=0).sum())
    if spread <= 0:
        return 1
    for lag in LAGS[:-1]:
        if lag >= len(group_NE):
            return lag
        apart = float(((group_NE[lag:] - group_NE[:-lag]) ** 2).sum(axis=1).mean())
        # Of so few pairs even unlike images look alike by chance.
        if 1 - apart / spread < max(ALIKE, 2 / np.sqrt(len(group_NE) - lag)):
            return lag
    return LONGEST
