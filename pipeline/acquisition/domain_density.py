"""The strategy `domain_density`: uncertain, and typical of what is not labelled yet."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.diversity import gaps
from pipeline.acquisition.neighbours import nearest_distances
from pipeline.acquisition.pool import Floats, Pick, Pool
from pipeline.config.params import AcquireParams

NUM_NEIGHBOURS = 20


def domain_density(
    pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """The product of the place by entropy and of how much denser the candidates are than labels.

    Dense: near to 20 candidates and far from every label, so the new domain's own kind and no
    outlier (after D2ADA, Wu et al. 2022, which weighs the two domains' densities so). The place and
    not the entropy itself: how sure a model is in general says nothing.
    """
    near_N = nearest_distances(pool.embeddings_ND, NUM_NEIGHBOURS)
    far_N = gaps(pool.embeddings_ND, pool.labelled_embeddings_MD)
    density_N = np.ones(len(pool))  # nothing is labelled: all count alike
    if np.isfinite(far_N).all():
        density_N = far_N / np.maximum(far_N + near_N, 1e-12)
    scores_N = _places(pool.scores["entropy"]) * density_N
    return [
        Pick(
            sample_id=pool.sample_ids[row],
            score=float(scores_N[row]),
            reason=f"uncertain (entropy {pool.scores['entropy'][row]:.2f}) and typical of what is "
            f"not labelled (density {density_N[row]:.2f})",
        )
        for row in np.argsort(-scores_N, kind="stable")[:num]
    ]


def _places(scores_N: Floats) -> Floats:
    """The share of candidates with a score no higher: ties share a place."""
    found_N: Floats = np.searchsorted(np.sort(scores_N), scores_N, side="right") / len(scores_N)
    return found_N
