"""The strategy `clasp_pe`: class-stratified power entropy (ClaSP PE, 2026)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.acquisition.pool import Floats, Pick, Pool
from pipeline.acquisition.power import power_ranking
from pipeline.config.params import AcquireParams

CLASS_SHARE = 0.66  # of the picks; the others go by the entropy of all classes together
LEAST_SHARPNESS, MOST_SHARPNESS = 1.0, 100.0


def clasp_pe(pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator) -> list[Pick]:
    """Two thirds class by class by entropy in that class, the rest by entropy; with power noise.

    The noise falls as the budget is spent: early on a score is worth little (section 3.2 there).
    """
    return list(_stratified(pool, num, rng))


def _stratified(pool: Pool, num: int, rng: np.random.Generator) -> Iterator[Pick]:
    """Class after class in a drawn order, as evenly as the number allows."""
    found = pool.known_by_class
    power = (MOST_SHARPNESS / LEAST_SHARPNESS) ** pool.spent_share
    sharpness = LEAST_SHARPNESS * power
    num_classes = found.entropy_NK.shape[1]
    turns = [int(index) for index in rng.permutation(num_classes)]
    wanted = [turns[place % num_classes] for place in range(int(CLASS_SHARE * num))]
    rankings = {index: power_ranking(found.entropy_NK[:, index], sharpness, rng) for index in turns}
    everything_N = found.entropy_NK.sum(axis=1)
    taken: set[int] = set()
    for index in wanted:
        row = _first(rankings[index], taken)
        yield _pick(pool, found.entropy_NK[:, index], row, f"high entropy in {found.name(index)}")
    ranking = power_ranking(everything_N, sharpness, rng)
    for _ in range(num - len(wanted)):
        yield _pick(pool, everything_N, _first(ranking, taken), "high entropy over all classes")


def _first(ranking: NDArray[np.intp], taken: set[int]) -> int:
    """The first row that is not taken; it is then."""
    row = next(int(row) for row in ranking if int(row) not in taken)
    taken.add(row)
    return row


def _pick(pool: Pool, scores_N: Floats, row: int, reason: str) -> Pick:
    score = min(1.0, float(scores_N[row]))
    return Pick(
        sample_id=pool.sample_ids[row], score=score, reason=f"{reason} ({score:.3f}), drawn by it"
    )
