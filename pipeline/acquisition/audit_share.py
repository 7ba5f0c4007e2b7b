"""The share of every query that is drawn uniformly: an unbiased look at the domain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.acquisition.pool import Pool


def num_audit(query_size: int, audit_share: float) -> int:
    """How many of a query are random: at least one, and not all unless the share is 1."""
    if audit_share == 0 or query_size < 2:
        return 0
    most = query_size if audit_share == 1 else query_size - 1
    return min(most, max(1, round(audit_share * query_size)))


def draw_audit(pool: Pool, num: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """`num` rows of the pool.

    Drawn before the strategy picks, from all candidates: drawing from what the strategy leaves
    would never show the most uncertain images, and so judge the model too kindly.
    """
    return rng.choice(len(pool), size=num, replace=False)
