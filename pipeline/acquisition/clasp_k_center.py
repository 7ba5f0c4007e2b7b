"""The strategy `clasp_k_center`: uncertain class by class, and unlike what is known."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.clasp_pe import stratified
from pipeline.acquisition.diversity import k_center
from pipeline.acquisition.entropy_k_center import unlike
from pipeline.acquisition.pool import Pick, Pool
from pipeline.config import AcquireParams


def clasp_k_center(
    pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """k-center among `prefilter * num` picks of clasp_pe."""
    first = list(stratified(pool, min(len(pool), params.prefilter * num), rng))
    rows = np.searchsorted(pool.sample_ids, [pick.sample_id for pick in first])
    chosen = k_center(pool.embeddings_ND[rows], pool.labelled_embeddings_MD, num)
    return [
        Pick(
            sample_id=first[place].sample_id,
            score=first[place].score,
            reason=first[place].reason + unlike(distance),
        )
        for place, distance in chosen
    ]
