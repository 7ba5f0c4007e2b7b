"""A query: the audit share, and what the strategy chooses of the other candidates."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.audit_share import draw_audit, num_audit
from pipeline.acquisition.cold_start import cold_start
from pipeline.acquisition.pool import Pick, Pool, check_query_size, in_order
from pipeline.acquisition.strategies import Strategy, strategy
from pipeline.config.params import AcquireParams
from pipeline.errors import ConfigError

# Where no pick has a score that a random one could share.
MIDDLE = 0.5

MEMBERS = "set predict.members or train.keep_snapshots (docs/uncertainty.md)"
HINTS = {
    "bald": MEMBERS,
    "disagreement": MEMBERS,
    "instability": MEMBERS,
}


def query(
    name: str, pool: Pool, query_size: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """`query_size` distinct candidates, highest score first, each with its reason.

    A cold start where the strategy's needs are not there because no model is trained or nothing is
    labelled. ValueError unless 1 <= query_size <= N; ConfigError for an unknown strategy, and for
    one whose scores the trained model did not give.
    """
    row = strategy(name)
    check_query_size(query_size, pool)
    choose = row.choose if _has(pool, row, name) else cold_start
    audit = draw_audit(pool, num_audit(query_size, params.audit_share), rng)
    chosen = []
    if len(audit) < query_size:
        chosen = choose(pool.without(audit), query_size - len(audit), params, rng)
    # Scores of other picks, so that neither kind goes unanswered when people stop early.
    scores = [pick.score for pick in chosen] or [MIDDLE]
    drawn = rng.choice(scores, size=len(audit))
    audited = [
        Pick(
            sample_id=pool.sample_ids[at],
            score=float(score),
            reason="random audit pick",
            source="audit",
        )
        for at, score in zip(audit, drawn, strict=True)
    ]
    return in_order(audited + chosen)


def _has(pool: Pool, row: Strategy, name: str) -> bool:
    absent = [need for need in row.needs if not pool.has(need)]
    if absent and pool.trained and absent != ["labelled"]:
        raise ConfigError(
            f"acquire.strategy = {name!r}: needs {', '.join(absent)}, which the trained model did "
            f"not give; {HINTS.get(absent[0], 'repeat the stage: `dvc repro --force predict`')}"
        )
    return not absent
