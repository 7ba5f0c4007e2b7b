"""Confident errors: half of a query goes where the model is likely wrong and sure of it."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.herding import herding
from pipeline.acquisition.most_uncertain import most_uncertain, uncertain
from pipeline.acquisition.pool import Pick, Pool
from pipeline.config.params import AcquireParams

SCORE = "sure_and_wrong"  # learnt from past corrections (pipeline.uncertainty.error_learner)


def confident_errors(
    pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """Half by `sure_and_wrong`, the rest by entropy; by herding, as whole images, before any
    correction taught where errors are.

    What a model is unsure of is not where it is wrong most (iSAGE, arXiv 2606.10136); and what it
    never met it may be unsure of rightly.
    """
    if SCORE not in pool.scores:
        return herding(pool, num, params, rng)
    first = [
        Pick(
            sample_id=pool.sample_ids[row],
            score=float(pool.scores[SCORE][row]),
            reason=uncertain(
                "likely sure and wrong", float(pool.scores[SCORE][row]), place, len(pool)
            ),
        )
        for place, row in enumerate(pool.ranking(SCORE)[: -(-num // 2)], start=1)
    ]
    taken = {pick.sample_id for pick in first}
    by_entropy = most_uncertain("entropy")(pool, len(pool), params, rng)
    rest = [pick for pick in by_entropy if pick.sample_id not in taken]
    return [*first, *rest[: num - len(first)]]
