"""Strategies that draw with a chance that goes with a score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.acquisition.most_uncertain import uncertain
from pipeline.acquisition.pool import Choose, Floats, Pick, Pool
from pipeline.config.params import AcquireParams

LEAST = 1e-12  # log of a score of 0 stays finite: drawn last, but drawn


def power(
    name: str,
) -> Choose:
    """Without replacement, the chance of each in proportion to its score (Kirsch et al. 2023).

    Near-duplicates share one score, so the top of a list repeats itself; a draw does not.
    """

    def choose(pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator) -> list[Pick]:
        places = {int(row): at for at, row in enumerate(pool.ranking(name), start=1)}
        scores_N = pool.scores[name]
        return [
            Pick(
                sample_id=pool.sample_ids[row],
                score=float(scores_N[row]),
                reason="drawn by uncertainty: "
                + uncertain(name, float(scores_N[row]), places[int(row)], len(pool)),
            )
            for row in power_ranking(scores_N, 1.0, rng)[:num]
        ]

    choose.__doc__ = f"A draw without replacement, with chances in proportion to {name}."
    return choose


def power_ranking(scores_N: Floats, sharpness: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Rows by log score + Gumbel noise / sharpness: a draw in proportion to score ** sharpness."""
    noise_N = rng.gumbel(size=len(scores_N)) / sharpness
    return np.argsort(-(np.log(scores_N.clip(LEAST)) + noise_N), kind="stable")
