"""Choosing unlike points: k-center greedy, medoids of k-means.

Shape suffixes: N points, M covered points, C centres, B block of points, D embedding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pipeline.acquisition.pool import Floats

# Restarts of k-means: the best of 4 is within a few percent of the best of many, at b <= 100.
NUM_STARTS = 4
BLOCK = 512  # points looked at exactly between two passes over all
PRODUCTS = 2**21  # entries of one matrix product, at most: 16 MB
TAKEN = -1.0  # in place of a distance: below a duplicate's 0, so that nothing is chosen twice

Reals = NDArray[np.floating[Any]]


def k_center(points_ND: Reals, covered_MD: Reals, num: int) -> list[tuple[int, float]]:
    """`num` rows, each the farthest from all covered and chosen before it, with that distance.

    Exact greedy (Sener and Savarese 2018, algorithm 1): at most twice the best possible radius.
    Ties go to the earlier row. The distance is inf for a first row with nothing covered.

    Distances are float64 by differences, but few are needed: bounds from one matrix product for
    all points and many centres tell which block of points the next choices are from. Points in
    float32 halve time and memory; the choices stay exact.
    """
    if num > len(points_ND):
        raise ValueError(f"{num} centres of {len(points_ND)} points; expected no more than points")
    bounds = _Bounds(points_ND)
    centres_CD, added_CD = covered_MD[:0].astype(np.float64), covered_MD
    chosen: list[tuple[int, float]] = []
    while len(chosen) < num:
        bounds.lower(added_CD)
        centres_CD = np.concatenate([centres_CD, added_CD])
        rows_B = bounds.highest(BLOCK)
        block_BD = points_ND[rows_B].astype(np.float64)
        gap_B = gaps(block_BD, centres_CD)
        gap_B[bounds.values_N[rows_B] == TAKEN] = TAKEN
        picked = _pick(block_BD, rows_B, gap_B, bounds.first_but(rows_B), num - len(chosen))
        chosen += [(int(rows_B[at]), distance) for at, distance in picked]
        # Also where nothing was picked: these bounds are exact now, the next block is another.
        bounds.values_N[rows_B] = gap_B
        added_CD = points_ND[rows_B[[at for at, _ in picked]]]
    return chosen


def _pick(
    block_BD: Floats,
    rows_B: NDArray[np.intp],
    gap_B: Floats,
    rival: tuple[float, int],
    most: int,
) -> list[tuple[int, float]]:
    """Greedy within the block, places with distances, for as long as no other point can be next.

    `gap_B` is brought up to date in place.
    """
    picked: list[tuple[int, float]] = []
    least_BB, _ = _squared(block_BD, block_BD)
    while len(picked) < most:
        at = int(gap_B.argmax())
        if (gap_B[at], -rows_B[at]) < rival:
            break
        picked.append((at, float(gap_B[at])))
        near = np.flatnonzero(least_BB[at] <= gap_B**2)
        gap_B[near] = np.minimum(gap_B[near], _distances(block_BD[near], block_BD[at]))
        gap_B[at] = TAKEN
    return picked


class _Bounds:
    """For every point a number not below its distance to the nearest centre."""

    def __init__(self, points_ND: Reals) -> None:
        self.points_ND = points_ND
        self.squares_N = self._grown_squares(points_ND)
        self.values_N = np.full(len(points_ND), np.inf)

    def lower(self, centres_CD: Reals) -> None:
        """After centres came in."""
        kind = self.points_ND.dtype
        squares_C = self._grown_squares(centres_CD).astype(kind)
        doubled_DC = 2 * centres_CD.T.astype(kind)
        for piece in _pieces(len(self.points_ND), len(centres_CD)):
            # |a|^2 + |b|^2 - 2ab is off by less than the slack in both squares.
            nearest = (squares_C - self.points_ND[piece] @ doubled_DC).min(axis=1)
            bound = np.sqrt(np.maximum(self.squares_N[piece] + nearest, 0))
            np.minimum(self.values_N[piece], bound, out=self.values_N[piece])

    def highest(self, num: int) -> NDArray[np.intp]:
        """Rows of the highest, ties to the earlier; in order of rows."""
        if num >= len(self.values_N):
            return np.arange(len(self.values_N))
        least = np.partition(self.values_N, -num)[-num]
        above = np.flatnonzero(self.values_N > least)
        level = np.flatnonzero(self.values_N == least)[: num - len(above)]
        return np.sort(np.concatenate([above, level]))

    def first_but(self, rows_B: NDArray[np.intp]) -> tuple[float, int]:
        """The highest without these rows, and minus its row: pairs that compare as choices do."""
        others_N = self.values_N.copy()
        others_N[rows_B] = TAKEN
        row = int(others_N.argmax())
        return float(others_N[row]), -row

    def _grown_squares(self, rows_ND: Reals) -> Floats:
        """So much too large that a bound made of them is none too small."""
        squares_N, limits = _squares(rows_ND), np.finfo(self.points_ND.dtype)
        largest = squares_N.max(initial=0)
        if not largest < float(limits.max) / 8:  # NaN fails too
            raise ValueError(
                f"a row of norm {np.sqrt(largest):.2g}: too long for {limits.dtype}; "
                "expected finite values of the usual size"
            )
        underflow = 2 * len(rows_ND.T) * float(limits.tiny)
        return squares_N * (1 + _slack(self.points_ND)) + underflow


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


def gaps(points_BD: Floats, centres_CD: Floats) -> Floats:
    """Distance to the nearest centre, of those which may be it, by differences; inf without any."""
    gap_B = np.full(len(points_BD), np.inf)
    for piece in _pieces(len(points_BD), len(centres_CD)):
        least_BC, most_BC = _squared(points_BD[piece], centres_CD)
        near_BC = least_BC <= most_BC.min(axis=1, keepdims=True)
        for column in np.flatnonzero(near_BC.any(axis=0)):
            rows = piece.start + np.flatnonzero(near_BC[:, column])
            gap = _distances(points_BD[rows], centres_CD[column])
            gap_B[rows] = np.minimum(gap_B[rows], gap)
    return gap_B


def _squared(points_BD: Floats, centres_CD: Floats) -> tuple[Floats, Floats]:
    """What each squared distance is at least and at most, from one matrix product."""
    sum_BC = _squares(points_BD)[:, None] + _squares(centres_CD)
    middle_BC = sum_BC - 2 * points_BD @ centres_CD.T
    sum_BC *= _slack(points_BD)
    return middle_BC - sum_BC, middle_BC + sum_BC


def _pieces(num_rows: int, num_columns: int) -> list[slice]:
    """Rows in pieces, so that a product with so many columns stays small; none with none."""
    if not num_columns:
        return []
    step = max(1, PRODUCTS // num_columns)
    return [slice(first, first + step) for first in range(0, num_rows, step)]


def _squares(points_ND: Reals) -> Floats:
    return np.einsum("nd,nd->n", points_ND, points_ND, dtype=np.float64)


def _slack(points_ND: Reals) -> float:
    """More than the relative error of a product of rows, whatever the order of its sum."""
    return (points_ND.shape[1] + 8) * float(np.finfo(points_ND.dtype).eps)


def _distances(points_ND: Floats, centre_D: Floats) -> Floats:
    """Euclidean; by differences, so that a duplicate is at exactly 0.

    numpy's norm, though scipy's `cdist` is 2 to 7 times as quick for one centre: it adds up
    pairwise, with an error that `_slack` covers; one by one the error grows with D.
    """
    return np.linalg.norm(points_ND - centre_D, axis=1)
