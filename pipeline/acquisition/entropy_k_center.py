"""The strategy `entropy_k_center`: uncertain, and unlike what is known."""

from __future__ import annotations

import math

import numpy as np

from pipeline.acquisition.diversity import k_center
from pipeline.acquisition.most_uncertain import uncertain
from pipeline.acquisition.pool import Pick, Pool
from pipeline.config import AcquireParams


def entropy_k_center(
    pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """k-center among the `prefilter * num` most uncertain.

    Alone, uncertainty picks near-duplicates and k-center picks outliers.
    """
    ranking = pool.ranking("entropy")
    first = ranking[: params.prefilter * num]
    chosen = k_center(pool.embeddings_ND[first], pool.labelled_embeddings_MD, num)
    picks = []
    for place, distance in chosen:
        score = float(pool.scores["entropy"][first[place]])
        picks.append(
            Pick(
                sample_id=pool.sample_ids[first[place]],
                score=score,
                reason=uncertain("entropy", score, place + 1, len(pool)) + unlike(distance),
            )
        )
    return picks


def unlike(distance: float) -> str:
    """The reason of a pick of k-center in words, to follow others."""
    if math.isinf(distance):  # the first pick, and nothing labelled
        return ""
    return f"; least like labelled and picked images (distance {distance:.2f})"
