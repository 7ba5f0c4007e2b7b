"""The strategy `random`: what every other one has to beat."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.audit import audit_pick, num_audit
from pipeline.acquisition.pool import Pick, Pool, check_query_size, in_order
from pipeline.config import AcquireParams


def random(
    pool: Pool, query_size: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """A uniform draw without replacement; needs neither scores nor embeddings.

    Its first picks are the audit share, so that a domain's val split grows as under any strategy.
    """
    check_query_size(query_size, pool)
    rows = rng.choice(len(pool), size=query_size, replace=False)
    picks = [audit_pick(pool, int(row)) for row in rows]
    audit = num_audit(query_size, params.audit_share)
    rest = [
        Pick(sample_id=pick.sample_id, score=pick.score, reason="random pick", source="strategy")
        for pick in picks[audit:]
    ]
    return in_order(picks[:audit] + rest)
