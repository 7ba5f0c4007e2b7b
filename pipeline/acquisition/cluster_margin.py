"""The strategy `cluster_margin`: the least sure images, no two of one kind."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import AgglomerativeClustering

from pipeline.acquisition.most_uncertain import uncertain
from pipeline.acquisition.pool import Pick, Pool
from pipeline.config.params import AcquireParams

CANDIDATES_PER_PICK = 10  # of the smallest margin (Citovsky et al. 2021, section 3)


def cluster_margin(
    pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """Of the 10 * num smallest margins one per cluster in turn, small clusters first.

    The clusters are made of these candidates and not once of the whole pool, as in the paper: that
    takes N x N distances. Average linkage; as many clusters as picks.
    """
    ranking = pool.ranking("margin")
    rows = ranking[: CANDIDATES_PER_PICK * num]
    cluster_M = np.zeros(len(rows), dtype=int)
    if 1 < num < len(rows):
        linkage = AgglomerativeClustering(n_clusters=num, linkage="average")
        cluster_M = linkage.fit_predict(pool.embeddings_ND[rows])
    queues = [np.flatnonzero(cluster_M == cluster) for cluster in np.unique(cluster_M)]
    queues.sort(key=lambda queue: (len(queue), queue[0]))
    turns = [
        (turn, at, place) for at, queue in enumerate(queues) for turn, place in enumerate(queue)
    ]
    scores_N = pool.scores["margin"]
    picks = []
    for _, at, place in sorted(turns)[:num]:
        score = float(scores_N[rows[place]])
        reason = uncertain("margin", score, int(place) + 1, len(pool))
        reason += f"; of a group of {len(queues[at])} alike"
        picks.append(Pick(sample_id=pool.sample_ids[rows[place]], score=score, reason=reason))
    return picks
