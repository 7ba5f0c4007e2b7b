"""Bootstrap resamples of images or of blocks of them, and percentile intervals (Efron 1979).

A resample is how often each image is drawn, not which: a figure made of summed counts, such as
mIoU, is one matrix product for all resamples. Means of a few values need no counts:
`scipy.stats.bootstrap`, as in backtest/significance.py. A permutation test deals blocks anew
between two groups for a null hypothesis, which is another idea: shift/two_sample.py.
N images, B blocks, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PERCENTILES = (2.5, 97.5)  # of an interval of 95 %


def resampled(num: int, num_resamples: int, rng: np.random.Generator) -> Floats:
    """counts_RN: how often each of `num` images is drawn, of `num` draws with replacement."""
    return rng.multinomial(num, np.full(num, 1 / num), size=num_resamples).astype(np.float64)


def resampled_blocks(
    block_N: NDArray[np.integer], num_resamples: int, rng: np.random.Generator
) -> Floats:
    """counts_RN of a block bootstrap (Kuensch 1989): images of a block are drawn together.

    `block_N`: the block of each image, numbered 0 to B - 1 in ascending order.
    """
    return resampled(int(block_N[-1]) + 1, num_resamples, rng)[:, block_N]


def percentile_interval(values_R: Sequence[float] | Floats) -> tuple[float, float]:
    """Low and high end of the middle 95 %; NaN, a resample without a figure, does not count."""
    low, high = np.nanpercentile(values_R, PERCENTILES)
    return float(low), float(high)
