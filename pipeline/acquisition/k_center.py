"""The strategy `k_center`: as unlike everything labelled as can be, whatever the model says."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.audit import AUDIT_SCORE, audit_pick, draw_audit, num_audit
from pipeline.acquisition.cold_start import cold_start
from pipeline.acquisition.diversity import k_center as farthest
from pipeline.acquisition.pool import Pick, Pool, check_query_size, in_order
from pipeline.config import AcquireParams

WIDEST = 2.0  # distance of two rows of norm 1


def k_center(
    pool: Pool, query_size: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """The audit share, then the farthest from all labelled and chosen (Sener and Savarese 2018).

    Needs no scores; a cold start while nothing is labelled.
    """
    check_query_size(query_size, pool)
    if not len(pool.labelled_embeddings_MD):
        return cold_start(pool, query_size, params, rng)
    audit = draw_audit(pool, num_audit(query_size, params.audit_share), rng)
    rest = np.setdiff1d(np.arange(len(pool)), audit)
    covered_MD = np.concatenate([pool.labelled_embeddings_MD, pool.embeddings_ND[audit]])
    picks = [audit_pick(pool, int(row), AUDIT_SCORE) for row in audit]
    for near, distance in farthest(pool.embeddings_ND[rest], covered_MD, query_size - len(audit)):
        picks.append(
            Pick(
                sample_id=pool.sample_ids[rest[near]],
                score=min(1.0, distance / WIDEST),
                reason=f"far from labelled and picked images (distance {distance:.2f})",
                source="strategy",
            )
        )
    return in_order(picks)
