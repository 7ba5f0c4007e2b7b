"""Strategies that go by one score and nothing else."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.pool import Choose, Pick, Pool
from pipeline.config.params import AcquireParams


def most_uncertain(
    name: str,
) -> Choose:
    """The rule that picks literally the top by the score of this name, ties by id."""

    def choose(pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator) -> list[Pick]:
        scores_N = pool.scores[name]
        return [
            Pick(
                sample_id=pool.sample_ids[row],
                score=float(scores_N[row]),
                reason=uncertain(name, float(scores_N[row]), place, len(pool)),
            )
            for place, row in enumerate(pool.ranking(name)[:num], start=1)
        ]

    choose.__doc__ = f"Literally the highest {name}."
    return choose


def uncertain(name: str, score: float, place: int, num_candidates: int) -> str:
    """The reason in words; `place` counts from 1, the most uncertain."""
    return f"uncertain ({name} {score:.2f}, top {place} of {num_candidates})"
