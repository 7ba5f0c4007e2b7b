"""The strategy `badge`: gradients that are large and unlike one another."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.pool import Floats, Pick, Pool
from pipeline.config.params import AcquireParams


def badge(pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator) -> list[Pick]:
    """Seeding of k-means++ on the gradients at the last layer (Ash et al. 2020, algorithm 1).

    The first is the largest gradient; each next is drawn by its squared distance to those chosen.
    """
    if pool.gradients_NG is None:
        raise ValueError("the pool has no gradients; expected a trained model's")
    gradients_NG = pool.gradients_NG
    length_N = np.linalg.norm(gradients_NG, axis=1)
    rows = [int(length_N.argmax())]
    gap_N = _squares(gradients_NG, rows[0])
    while len(rows) < num:
        gap_N[rows] = 0.0
        left = np.setdiff1d(np.arange(len(pool)), rows)
        total = gap_N.sum()
        # Where all that is left is alike, any is as good.
        row = int(rng.choice(len(pool), p=gap_N / total)) if total > 0 else int(rng.choice(left))
        rows.append(row)
        gap_N = np.minimum(gap_N, _squares(gradients_NG, row))
    longest = max(float(length_N.max()), 1e-12)
    return [
        Pick(
            sample_id=pool.sample_ids[row],
            score=float(length_N[row]) / longest,
            reason=f"would change the model in its own way ({length_N[row] / longest:.0%} of the "
            "largest gradient)",
        )
        for row in rows
    ]


def _squares(gradients_NG: Floats, row: int) -> Floats:
    found_N: Floats = ((gradients_NG - gradients_NG[row]) ** 2).sum(axis=1)
    return found_N
