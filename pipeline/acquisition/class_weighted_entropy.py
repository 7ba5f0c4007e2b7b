"""The strategy `class_weighted_entropy`: uncertain about what the labels lack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.acquisition.pool import ByClass, Floats, Pick, Pool
from pipeline.config.params import AcquireParams

# A class is taken to hold at least this share of the labels: one that nobody has seen would
# otherwise decide alone, whatever the model mistakes for it.
LEAST_SHARE = 0.002


def class_weighted_entropy(
    pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """The largest sum over classes of entropy / share of the labels."""
    found = pool.known_by_class
    scores_N = weighted(found)
    return [
        _pick(pool, found, scores_N, int(row)) for row in np.argsort(-scores_N, kind="stable")[:num]
    ]


def class_weights(labelled_shares_K: Floats) -> NDArray[np.float64]:
    """1 / share of the labels, the rarest class 1."""
    weights_K = 1.0 / np.maximum(labelled_shares_K, LEAST_SHARE)
    return weights_K / weights_K.max()


def weighted(by_class: ByClass) -> NDArray[np.float64]:
    """scores_N in [0, 1]: entropy times the weight of the class, mean over an image's pixels."""
    scores_N = by_class.entropy_NK @ class_weights(by_class.labelled_shares_K)
    return scores_N.clip(0.0, 1.0)


def _pick(pool: Pool, by_class: ByClass, scores_N: Floats, row: int) -> Pick:
    parts_K = by_class.entropy_NK[row] * class_weights(by_class.labelled_shares_K)
    first = int(parts_K.argmax())
    return Pick(
        sample_id=pool.sample_ids[row],
        score=float(scores_N[row]),
        reason=(
            f"uncertain about {by_class.name(first)}, {by_class.labelled_shares_K[first]:.1%} of "
            "the labels so far"
        ),
    )
