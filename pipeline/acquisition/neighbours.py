"""How points lie among one another: distances to neighbours, and clusters.

Shape suffixes: N points, D embedding, U unlike points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pipeline.acquisition.pool import Floats


def nearest_distances(points_ND: Floats, num: int) -> Floats:
    """Per point the mean distance to the `num` nearest others, or to all where there are fewer.

    0 for a point that is alone.
    """
    from sklearn.neighbors import NearestNeighbors  # a second to import; few strategies need it

    count = min(num, len(points_ND) - 1)
    if count < 1:
        return np.zeros(len(points_ND))
    with threadpool_limits(limits=1):
        found_NC, _ = NearestNeighbors(n_neighbors=count).fit(points_ND).kneighbors()
    mean_N: Floats = found_NC.mean(axis=1)
    return mean_N


def clusters(points_ND: Floats, num: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The k-means cluster of every point, of at most `num`; whatever the order of the points."""
    from sklearn.cluster import KMeans

    unlike_UD, which_N = np.unique(points_ND, axis=0, return_inverse=True)
    k = min(num, len(unlike_UD))
    weights_U = np.bincount(which_N)
    seed = int(rng.integers(2**31))
    with threadpool_limits(limits=1):  # threads add up in any order: other last digits each time
        fitted = KMeans(k, n_init=1, random_state=seed).fit(unlike_UD, sample_weight=weights_U)
    found_N: NDArray[np.intp] = fitted.labels_[which_N]
    return found_N
