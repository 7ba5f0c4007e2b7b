"""The strategy `k_center`: as unlike everything labelled as can be, whatever the model says."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.diversity import k_center as farthest
from pipeline.acquisition.pool import Pick, Pool
from pipeline.config.params import AcquireParams

WIDEST = 2.0  # distance of two rows of norm 1


def k_center(pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator) -> list[Pick]:
    """The farthest from all labelled and chosen (Sener and Savarese 2018)."""
    return [
        Pick(
            sample_id=pool.sample_ids[row],
            score=min(1.0, distance / WIDEST),
            reason=f"far from labelled and picked images (distance {distance:.2f})",
        )
        for row, distance in farthest(pool.embeddings_ND, pool.labelled_embeddings_MD, num)
    ]
