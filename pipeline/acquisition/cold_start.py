"""The query before any model is trained: typical images, as far apart as clusters are."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.audit import audit_pick, draw_audit, num_audit
from pipeline.acquisition.diversity import medoids
from pipeline.acquisition.pool import Pick, Pool, check_query_size, in_order
from pipeline.config import AcquireParams


def cold_start(
    pool: Pool, query_size: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """Medoids of k-means on the embeddings, and the audit share.

    A medoid's score is its cluster's share of the candidates: what stands for many comes first.
    With few labels typical images beat atypical ones (TypiClust, Hacohen et al. 2022).
    """
    check_query_size(query_size, pool)
    audit = draw_audit(pool, num_audit(query_size, params.audit_share), rng)
    others = np.setdiff1d(np.arange(len(pool)), audit)
    picks = [audit_pick(pool, int(row)) for row in audit]
    for row, size in medoids(pool.embeddings_ND[others], query_size - len(audit), rng):
        reason = f"cold start: typical of {size} of {len(others)} images"
        picks.append(
            Pick(
                sample_id=pool.sample_ids[others[row]],
                score=size / len(others),
                reason=reason,
                source="cold_start",
            )
        )
    return in_order(picks)
