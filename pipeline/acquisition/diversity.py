"""Choosing unlike points: k-center greedy and medoids of k-means.

Shape suffixes: N points, M covered points, D embedding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pipeline.acquisition.pool import Floats

# Restarts of k-means: the best of 4 is within a few percent of the best of many, at b <= 100.
NUM_STARTS = 4


def k_center(points_ND: Floats, covered_MD: Floats, num: int) -> list[tuple[int, float]]:
    """`num` rows, each the farthest from all covered and chosen before it, with that distance.

    Exact greedy (Sener and Savarese 2018, algorithm 1): at most twice the best possible radius.
    Ties go to the earlier row. The distance is inf for a first row with nothing covered.
    """
    if num > len(points_ND):
        raise ValueError(f"{num} centres of {len(points_ND)} points; expected no more than points")
    gap_N = np.full(len(points_ND), np.inf)
    for centre_D in covered_MD:
        gap_N = np.minimum(gap_N, _distances(points_ND, centre_D))
    chosen: list[tuple[int, float]] = []
    for _ in range(num):
        row = int(gap_N.argmax())
        chosen.append((row, float(gap_N[row])))
        gap_N = np.minimum(gap_N, _distances(points_ND, points_ND[row]))
        gap_N[[row for row, _ in chosen]] = -1.0  # below a duplicate's 0: nothing is chosen twice
    return chosen


def medoids(points_ND: Floats, num: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """The row nearest to each of `num` k-means centres, with the size of its cluster.

    Largest cluster first, ties by row. With fewer than `num` distinct points the rest are the
    points farthest from those chosen, each a cluster of 1.
    """
    from sklearn.cluster import KMeans  # a second to import; only a cold start needs it

    if num == 0:
        return []
    k = min(num, len(np.unique(points_ND, axis=0)))
    seed = int(rng.integers(2**31))
    with threadpool_limits(limits=1):  # threads add up in any order: other last digits each time
        fitted = KMeans(k, n_init=NUM_STARTS, random_state=seed).fit(points_ND)
    found = [_medoid(points_ND, fitted.labels_ == cluster) for cluster in range(k)]
    found.sort(key=lambda item: (-item[1], item[0]))
    rows = [row for row, _ in found]
    others = np.setdiff1d(np.arange(len(points_ND)), rows)
    extra = k_center(points_ND[others], points_ND[rows], num - k)
    return found + [(int(others[row]), 1) for row, _ in extra]


def _medoid(points_ND: Floats, inside_N: NDArray[np.bool_]) -> tuple[int, int]:
    rows = np.flatnonzero(inside_N)
    own_ND = points_ND[rows]
    nearest = _distances(own_ND, own_ND.mean(axis=0)).argmin()
    return int(rows[nearest]), len(rows)


def _distances(points_ND: Floats, centre_D: Floats) -> Floats:
    """Euclidean; by differences, so that a duplicate is at exactly 0."""
    return np.linalg.norm(points_ND - centre_D, axis=1)
