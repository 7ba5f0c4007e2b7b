"""The query before any model is trained: typical images, as far apart as clusters are."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.diversity import medoids
from pipeline.acquisition.pool import Pick, Pool
from pipeline.config.params import AcquireParams


def cold_start(pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator) -> list[Pick]:
    """Medoids of k-means on the embeddings.

    A medoid's score is its cluster's share of the candidates: what stands for many comes first.
    With few labels typical images beat atypical ones (TypiClust, Hacohen et al. 2022).
    """
    return [
        Pick(
            sample_id=pool.sample_ids[row],
            score=size / len(pool),
            reason=f"cold start: typical of {size} of {len(pool)} images",
            source="cold_start",
        )
        for row, size in medoids(pool.embeddings_ND, num, rng)
    ]
