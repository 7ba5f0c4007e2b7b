"""The strategy `stratified_random`: at random, but class by class."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.audit import AUDIT_SCORE, audit_pick, draw_audit, num_audit
from pipeline.acquisition.cold_start import cold_start
from pipeline.acquisition.pool import Pick, Pool, check_query_size, in_order
from pipeline.config import AcquireParams


def stratified_random(
    pool: Pool, query_size: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """The audit share, then one image per predicted class in turn, classes in a drawn order.

    An image is drawn with a chance that goes with the class's share of it, so that classes of few
    pixels (the foreground, as a rule) come as often as those of many; cf. the foreground-aware
    random baseline of nnActive (2025). A cold start without a trained model.
    """
    check_query_size(query_size, pool)
    if pool.by_class is None:
        return cold_start(pool, query_size, params, rng)
    audit = draw_audit(pool, num_audit(query_size, params.audit_share), rng)
    picks = [audit_pick(pool, int(row), AUDIT_SCORE) for row in audit]
    left = np.ones(len(pool), dtype=bool)
    left[audit] = False
    classes = rng.permutation(pool.by_class.shares_NK.shape[1])
    for place in range(query_size - len(audit)):
        wanted = int(classes[place % len(classes)])
        chances_N = pool.by_class.shares_NK[:, wanted] * left
        if chances_N.sum() == 0:  # predicted nowhere: any image is as good
            chances_N = left.astype(float)
        row = int(rng.choice(len(pool), p=chances_N / chances_N.sum()))
        left[row] = False
        share = float(pool.by_class.shares_NK[row, wanted])
        picks.append(
            Pick(
                sample_id=pool.sample_ids[row],
                score=min(1.0, share),
                reason=f"random pick for class {wanted}, {share:.1%} of the image",
                source="strategy",
            )
        )
    return in_order(picks)
