"""Strategies in two steps: first picks by another rule, then k-center among them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pipeline.acquisition.clasp_pe import clasp_pe
from pipeline.acquisition.class_weighted_entropy import class_weighted_entropy
from pipeline.acquisition.diversity import k_center
from pipeline.acquisition.most_uncertain import most_uncertain
from pipeline.acquisition.pool import Choose, Pick, Pool
from pipeline.config.params import AcquireParams


def far_apart(rule: Choose, says: str) -> Choose:
    """The rule that takes k-center's choice of the first `prefilter * num` picks of another.

    Alone, uncertainty picks near-duplicates and k-center picks outliers.
    """

    def choose(pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator) -> list[Pick]:
        first = rule(pool, min(len(pool), params.prefilter * num), params, rng)
        rows = np.searchsorted(pool.sample_ids, [pick.sample_id for pick in first])
        chosen = k_center(pool.embeddings_ND[rows], pool.labelled_embeddings_MD, num)
        return [
            replace(first[place], reason=first[place].reason + _unlike(distance))
            for place, distance in chosen
        ]

    choose.__doc__ = says
    return choose


def _unlike(distance: float) -> str:
    if math.isinf(distance):  # the first pick, and nothing labelled
        return ""
    return f"; least like labelled and picked images (distance {distance:.2f})"


clasp_k_center = far_apart(clasp_pe, "k-center among `prefilter * num` picks of clasp_pe.")
class_weighted_k_center = far_apart(
    class_weighted_entropy, "k-center among `prefilter * num` picks of class_weighted_entropy."
)
entropy_k_center = far_apart(
    most_uncertain("entropy"), "k-center among the `prefilter * num` most uncertain."
)
