"""The strategy `entropy`: the most uncertain images and nothing else."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.cold_start import cold_start
from pipeline.acquisition.pool import Pick, Pool, by_uncertainty, check_query_size
from pipeline.config import AcquireParams


def entropy(
    pool: Pool, query_size: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """Literally the top `query_size` by score, no audit share; a cold start without scores."""
    check_query_size(query_size, pool)
    if pool.scores_N is None:
        return cold_start(pool, query_size, params, rng)
    return [
        Pick(
            sample_id=pool.sample_ids[row],
            score=float(pool.scores_N[row]),
            reason=uncertain(float(pool.scores_N[row]), place, len(pool)),
            source="strategy",
        )
        for place, row in enumerate(by_uncertainty(pool)[:query_size], start=1)
    ]


def uncertain(score: float, place: int, num_candidates: int) -> str:
    """The reason in words; `place` counts from 1, the most uncertain."""
    return f"uncertain (entropy {score:.2f}, top {place} of {num_candidates})"
