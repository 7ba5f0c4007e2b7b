"""The strategy `entropy_k_center`: uncertain, unlike what is known, and a share at random."""

from __future__ import annotations

import math

import numpy as np

from pipeline.acquisition.audit import audit_pick, draw_audit, num_audit
from pipeline.acquisition.cold_start import cold_start
from pipeline.acquisition.diversity import k_center
from pipeline.acquisition.entropy import uncertain
from pipeline.acquisition.pool import Pick, Pool, by_uncertainty, check_query_size, in_order
from pipeline.config import AcquireParams


def entropy_k_center(
    pool: Pool, query_size: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """The audit share, then k-center among the `prefilter * query_size` most uncertain.

    Alone, uncertainty picks near-duplicates and k-center picks outliers. The audit picks count as
    covered: whether they train or validate, their near-duplicates are not worth a label.
    A cold start without scores.
    """
    check_query_size(query_size, pool)
    if pool.scores_N is None:
        return cold_start(pool, query_size, params, rng)
    audit = draw_audit(pool, num_audit(query_size, params.audit_share), rng)
    ranking = by_uncertainty(pool)
    places = {int(row): place for place, row in enumerate(ranking, start=1)}
    rest = ranking[~np.isin(ranking, audit)][: params.prefilter * query_size]
    covered_MD = np.concatenate([pool.labelled_embeddings_MD, pool.embeddings_ND[audit]])
    chosen = k_center(pool.embeddings_ND[rest], covered_MD, query_size - len(audit))
    picks = [audit_pick(pool, int(row)) for row in audit]
    for near, distance in chosen:
        row = int(rest[near])
        score = float(pool.scores_N[row])
        picks.append(
            Pick(
                sample_id=pool.sample_ids[row],
                score=score,
                reason=uncertain(score, places[row], len(pool)) + _unlike(distance),
                source="strategy",
            )
        )
    return in_order(picks)


def _unlike(distance: float) -> str:
    if math.isinf(distance):  # the first pick, and nothing labelled
        return ""
    return f"; least like labelled and picked images (distance {distance:.2f})"
