"""The strategy `herding`: labels that are spread as the images are."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from pipeline.acquisition.pool import Floats, Pick, Pool
from pipeline.config.params import AcquireParams

ROWS_AT_ONCE = 512  # of a kernel: 16 MB with as many targets as there may be
MOST_TARGETS = 4000  # images that stand for all; a kernel of all with all would be N x N
NUM_MEASURED = 64  # of which distances to all others give the kernel its width
WIDTH = 0.5  # of the kernel, in median distances between two candidates


def herding(pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator) -> list[Pick]:
    """Kernel herding (Chen, Welling and Smola 2010): each pick is what the labels lack most.

    Like a random draw it keeps the proportions of the pool, dense parts and sparse ones, but
    without a draw's luck. What is like a pick is not lacked any more, so near-duplicates, such as
    the frames of a video, need no collapsing beforehand. Labels count by how near to the candidates
    they lie, so that an older domain neither attracts nor repels. Needs no model.
    """
    points_ND, covered_MD = pool.embeddings_ND, pool.labelled_embeddings_MD
    every = -(-len(pool) // MOST_TARGETS)
    targets_TD = points_ND[::every]
    width = WIDTH * _median_distance(targets_TD)
    wanted_N = _mean_kernel(points_ND, targets_TD, width)
    near_M = _mean_kernel(covered_MD, targets_TD, width)
    weight_M = np.minimum(1.0, near_M / np.median(wanted_N))
    have_N = np.zeros(len(pool))
    for point_D, weight in zip(covered_MD, weight_M, strict=True):
        have_N += weight * _kernel(points_ND, point_D, width)
    # What is labelled belongs to what labels should be spread like.
    count, total = weight_M.sum(), len(pool) + weight_M.sum()
    wanted_N = (len(pool) * wanted_N + have_N) / total
    picks, left_N = [], np.ones(len(pool), dtype=bool)
    for _ in range(num):
        lack_N = np.where(left_N, (count + 1) * wanted_N - have_N, -np.inf)
        row = int(lack_N.argmax())
        picks.append(_pick(pool, row, float(wanted_N[row]), float(have_N[row] / max(count, 1))))
        left_N[row] = False
        have_N += _kernel(points_ND, points_ND[row], width)
        count += 1
    return picks


def _pick(pool: Pool, row: int, wanted: float, have: float) -> Pick:
    return Pick(
        sample_id=pool.sample_ids[row],
        score=float(np.clip(0.5 + wanted - have, 0.0, 1.0)),
        reason=f"its kind is {wanted:.0%} of the pool and {have:.0%} of the labels",
    )


def _kernel(points_ND: Floats, point_D: Floats, width: float) -> Floats:
    return _kernels(points_ND, point_D[None], width)[:, 0]


def _kernels(points_ND: Floats, targets_TD: Floats, width: float) -> Floats:
    """Gaussian, NxT. By differences: what is the same image has the same values to the last bit."""
    found_NT: Floats = np.exp(-cdist(points_ND, targets_TD, "sqeuclidean") / (2 * width**2))
    return found_NT


def _mean_kernel(points_ND: Floats, targets_TD: Floats, width: float) -> Floats:
    mean_N = np.empty(len(points_ND))
    for first in range(0, len(points_ND), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        mean_N[rows] = _kernels(points_ND[rows], targets_TD, width).mean(axis=1)
    return mean_N


def _median_distance(points_TD: Floats) -> float:
    """Of some points, evenly over the list, to all others; 1 if all are one."""
    some_SD = points_TD[:: -(-len(points_TD) // NUM_MEASURED)]
    return float(np.median(cdist(some_SD, points_TD))) or 1.0
