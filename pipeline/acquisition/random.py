"""The strategy `random`: what every other one has to beat."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.pool import Pick, Pool
from pipeline.config.params import AcquireParams


def random(pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator) -> list[Pick]:
    """A uniform draw without replacement; needs neither scores nor embeddings.

    All have one score: an order by uncertainty would make a sample of what is answered first.
    """
    return [
        Pick(sample_id=pool.sample_ids[row], score=0.5, reason="random pick")
        for row in rng.choice(len(pool), size=num, replace=False)
    ]
