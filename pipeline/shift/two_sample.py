"""Two-sample statistics of embeddings: proxy A-distance, energy distance, Frechet distance.

N images, E features of an embedding, D principal components, R resamples, B runs of images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import euclidean_distances

from pipeline.metrics.bootstrap import percentile_interval, resampled
from pipeline.shift.time_blocks import Embeddings, Runs

Floats = NDArray[np.float64]
Triple = tuple[float, float, float]
"""Value, and the low and high end of its interval."""

NUM_RESAMPLES, NUM_PERMUTATIONS = 2000, 1999
NUM_FOLDS = 5
COMPONENTS = 32  # kept for classifier and Frechet distance: some hundred images carry no more
SEED = 0  # of resampling: the same images give the same figures


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Embeddings of one domain's images, in blocks."""

    embeddings_NE: Embeddings
    """Rows of norm 1, in order of names."""
    run_N: Runs

    @property
    def num_runs(self) -> int:
        """B, the number of blocks."""
        return int(self.run_N[-1]) + 1


def components(one: Group, other: Group) -> tuple[Floats, Floats]:
    """Project both groups on the principal components of all their images, the largest first."""
    rows = np.concatenate([one.embeddings_NE, other.embeddings_NE]).astype(np.float64)
    rows -= rows.mean(axis=0)
    _, _, directions_DE = np.linalg.svd(rows, full_matrices=False)
    kept = min(COMPONENTS, max(2, len(rows) // 4), len(directions_DE))
    found_ND = rows @ directions_DE[:kept].T
    return found_ND[: len(one.run_N)], found_ND[len(one.run_N) :]


def proxy_a_distance(one: Group, other: Group) -> Triple | None:
    """Proxy A-distance 2 (1 - 2 error) of a linear classifier, in [0, 2] (Ben-David et al. 2007).

    Cross-validated: images of a run are in one fold. The error is the mean of both domains', its
    interval a bootstrap over runs. None where a domain has a single run: there is nothing to learn
    from when it is held out.
    """
    if min(one.num_runs, other.num_runs) < 2:
        return None
    rows = np.concatenate(components(one, other))
    rows /= np.maximum(rows.std(axis=0), 1e-9)
    domain = np.arange(len(rows)) >= len(one.run_N)
    run = np.concatenate([one.run_N, other.run_N])
    wrong = _wrong(rows, domain, run, min(NUM_FOLDS, one.num_runs, other.num_runs))
    rng = np.random.default_rng(SEED)
    sides = [_errors(wrong[domain == side], run[domain == side], rng) for side in (False, True)]
    error = float(np.mean([value for value, _ in sides]))
    low, high = percentile_interval(np.mean([drawn_R for _, drawn_R in sides], axis=0))
    # Without any error seen a bootstrap is sure of there being none, however few the runs.
    unseen = max(1 - 0.025 ** (1 / group.num_runs) for group in (one, other)) / 2
    return _distance(error), _distance(max(high, unseen)), _distance(low)


def p_value(one: Group, other: Group) -> float:
    """Permutation p-value of the energy distance, whole blocks permuted.

    By the energy distance (Szekely and Rizzo 2004). At least 1 / (number of ways to deal).
    """
    rows = np.concatenate([one.embeddings_NE, other.embeddings_NE]).astype(np.float64)
    run = np.concatenate([one.run_N, one.num_runs + other.run_N])
    apart_BB = _sums(_sums(distances(rows, rows), run).T, run)
    sizes_B = np.bincount(run).astype(np.float64)
    rng = np.random.default_rng(SEED)
    second = np.arange(len(sizes_B)) >= one.num_runs
    dealt_RB = np.stack([second, *(rng.permutation(second) for _ in range(NUM_PERMUTATIONS))])
    energy_R = _energy(apart_BB, sizes_B, dealt_RB.astype(np.float64))
    as_far = energy_R >= energy_R[0] * (1 - 1e-9)  # the same dealing again, added up otherwise
    return float(as_far.mean())


def frechet_distance(one_ND: Floats, other_ND: Floats) -> float:
    """Squared Frechet distance between the groups' Gaussians (Dowson and Landau 1982)."""
    covariances = [np.atleast_2d(np.cov(rows_ND.T, bias=True)) for rows_ND in (one_ND, other_ND)]
    # The trace of the root of a product of two covariances: its eigenvalues are never negative.
    roots = np.sqrt(np.maximum(np.linalg.eigvals(covariances[0] @ covariances[1]).real, 0))
    between = float(((one_ND.mean(axis=0) - other_ND.mean(axis=0)) ** 2).sum())
    return max(0.0, between + float(np.trace(covariances[0] + covariances[1]) - 2 * roots.sum()))


def nearest(one: Group, other: Group) -> Floats:
    """Distance of each image of `other` to the nearest of `one`."""
    found_N: Floats = distances(other.embeddings_NE, one.embeddings_NE).min(axis=1)
    return found_N


def novelty(one: Group, other: Group) -> float | None:
    """Novelty: median distance of `other` to `one`, over that of `one` to its own other blocks.

    About 1 for more of the same; None where `one` has a single run.
    """
    if one.num_runs < 2:
        return None
    own_NN = distances(one.embeddings_NE, one.embeddings_NE)
    own_NN[one.run_N[:, None] == one.run_N] = np.inf
    usual = float(np.median(own_NN.min(axis=1)))
    return float(np.median(nearest(one, other))) / max(usual, 1e-6)


def distances(one_ND: NDArray[np.floating], other_ND: NDArray[np.floating]) -> Floats:
    """Euclidean distance of every row of one to every row of the other.

    By one matrix product: `scipy.spatial.distance.cdist` takes seven times as long for 1,500 rows
    of 1,024 features.
    """
    found_NM: Floats = euclidean_distances(one_ND.astype(np.float64), other_ND.astype(np.float64))
    return found_NM


def _wrong(
    rows: Floats, domain: NDArray[np.bool_], run: Runs, num_folds: int
) -> NDArray[np.float64]:
    """Cross-validated errors by whole blocks: 1 for an image whose domain is classified wrongly."""
    wrong = np.zeros(len(rows))
    for fold in range(num_folds):
        held = run % num_folds == fold
        classifier = LogisticRegression(class_weight="balanced", max_iter=1000)
        classifier.fit(rows[~held], domain[~held])
        wrong[held] = classifier.predict(rows[held]) != domain[held]
    return wrong


def _errors(wrong_N: Floats, run_N: Runs, rng: np.random.Generator) -> tuple[float, Floats]:
    """Error rate on one domain, and on resamples of its blocks."""
    errors_B, sizes_B = np.bincount(run_N, weights=wrong_N), np.bincount(run_N)
    counts_RB = resampled(len(sizes_B), NUM_RESAMPLES, rng)
    return float(wrong_N.mean()), (counts_RB @ errors_B) / (counts_RB @ sizes_B)


def _distance(error: float) -> float:
    return min(2.0, max(0.0, 2 * (1 - 2 * error)))


def _sums(values_NX: Floats, run_N: Runs) -> Floats:
    """Of the rows of each run."""
    starts = np.flatnonzero(np.diff(run_N, prepend=-1))
    return np.add.reduceat(values_NX, starts, axis=0)


def _energy(apart_BB: Floats, sizes_B: Floats, dealt_RB: Floats) -> Floats:
    """Energy distance of every permutation; 1 = in the second group."""
    first_RB = 1 - dealt_RB
    first_R, second_R = first_RB @ sizes_B, dealt_RB @ sizes_B
    across_RB, within_RB = dealt_RB @ apart_BB, first_RB @ apart_BB
    across_R = (across_RB * first_RB).sum(axis=1) / (first_R * second_R)
    second_own_R = (across_RB * dealt_RB).sum(axis=1) / second_R**2
    first_own_R = (within_RB * first_RB).sum(axis=1) / first_R**2
    energy_R: Floats = 2 * across_R - first_own_R - second_own_R
    return energy_R
