"""The strategy `typiclust`: the most typical image of clusters that have no label yet."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.neighbours import clusters, nearest_distances
from pipeline.acquisition.pool import Pick, Pool
from pipeline.config.params import AcquireParams

MOST_CLUSTERS = 500
NUM_NEIGHBOURS = 20
SMALL = 5  # points, labelled ones among them; of the authors' code, the paper has no such rule


def typiclust(pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator) -> list[Pick]:
    """As many clusters as labels after the query; the largest uncovered first (Hacohen 2022).

    Typical: a small mean distance to the 20 nearest of its own cluster. Clusters of 5 points and
    fewer wait while larger ones have candidates left: they are outliers more often than kinds.
    """
    points_ND = np.concatenate([pool.embeddings_ND, pool.labelled_embeddings_MD])
    wanted = min(MOST_CLUSTERS, num + len(pool.labelled_embeddings_MD), len(points_ND))
    cluster_N = clusters(points_ND, wanted, rng)
    candidate_N = np.arange(len(points_ND)) < len(pool)
    found = int(cluster_N.max()) + 1
    labels_C = np.bincount(cluster_N[~candidate_N], minlength=found)
    left_C = np.bincount(cluster_N[candidate_N], minlength=found)
    size_C = left_C.copy()
    small_C = np.bincount(cluster_N, minlength=found) <= SMALL
    taken = np.zeros(len(pool), dtype=bool)
    picks = []
    for _ in range(num):
        # Fewest labels first, then the most images; what is picked counts as a label.
        order = np.lexsort((-size_C, labels_C, small_C, left_C == 0))
        cluster = int(order[0])
        rows = np.flatnonzero((cluster_N[: len(pool)] == cluster) & ~taken)
        row = int(rows[nearest_distances(pool.embeddings_ND[rows], NUM_NEIGHBOURS).argmin()])
        taken[row] = True
        labels_C[cluster] += 1
        left_C[cluster] -= 1
        share = size_C[cluster] / len(points_ND)
        reason = f"typical of {size_C[cluster]} images with {labels_C[cluster] - 1} label(s)"
        picks.append(Pick(sample_id=pool.sample_ids[row], score=float(share), reason=reason))
    return picks
