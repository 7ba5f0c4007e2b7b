"""How unusual an image is among those of a known domain: conformal p-values of embeddings.

The distance to the nearest image of the domain (Angelopoulos & Bates 2023, section 2, for the
p-value; Laxhammar & Falkman 2010 for nearest neighbours) in coordinates of the domain's own spread
(probabilistic principal components, Tipping & Bishop 1999).

N images of the reference, M images that are judged, D features, F folds, K components.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.watch.sequences import folds_of

COMPONENTS = 16  # more fit the drives that are there, and then a new one looks foreign
MIN_IMAGES = 8  # p is at least 1 / (N + 1): with fewer nothing could be noticed
MAX_IMAGES = 2000  # of a domain, evenly over its sequences; distances cost the square
TINY = 1e-12

Reals = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """One known domain."""

    domain: str
    metric: Metric
    points_ND: Reals
    """The domain's images in the coordinates of `metric`."""
    distances_N: Reals
    """Sorted: of each of them from the nearest that was not taken with it."""

    def p_values(self, embeddings_MD: NDArray[np.floating]) -> Reals:
        """M values in (0, 1]: the share of the domain that is as far off, the image itself counted.

        At most u with probability u or less where the image comes from the domain, since it is
        compared with all of the reference and those of the reference with a part.
        """
        distance_M = _nearest(self.metric(embeddings_MD), self.points_ND)
        nearer_M = np.searchsorted(self.distances_N, distance_M, side="left")
        return (1 + len(self.distances_N) - nearer_M) / (1 + len(self.distances_N))


@dataclass(frozen=True, kw_only=True, eq=False)
class Metric:
    """Coordinates in which the images' spread is 1 in every direction."""

    mean_D: Reals
    whiten_DD: Reals

    def __call__(self, embeddings_MD: NDArray[np.floating]) -> Reals:
        """MxD coordinates."""
        return (np.asarray(embeddings_MD, dtype=np.float64) - self.mean_D) @ self.whiten_DD


def fit_metric(embeddings_ND: NDArray[np.floating]) -> Metric:
    """x -> (x - m) S^(-1/2), S = V diag(v_1..v_K) V' + s (I - V V'): PPCA.

    The K components of largest variance keep theirs, all other directions share s, the mean of
    what is left: a direction in which the domain never varied counts, it does not vanish.
    """
    rows_ND = np.asarray(embeddings_ND, dtype=np.float64)
    mean_D = rows_ND.mean(axis=0)
    _, singular, vectors = np.linalg.svd(rows_ND - mean_D, full_matrices=False)
    variance = singular**2 / max(1, len(rows_ND) - 1)
    kept = min(COMPONENTS, len(rows_ND) // 2, int((variance > TINY).sum()))
    rest = max(TINY, variance[kept:].sum() / max(1, rows_ND.shape[1] - kept))
    vectors_DK = vectors[:kept].T
    scale_K = 1 / np.sqrt(np.maximum(variance[:kept], rest)) - 1 / np.sqrt(rest)
    whiten_DD = np.eye(rows_ND.shape[1]) / np.sqrt(rest) + vectors_DK * scale_K @ vectors_DK.T
    return Metric(mean_D=mean_D, whiten_DD=whiten_DD)


def fit_reference(
    domain: str, names: Sequence[str], embeddings_ND: NDArray[np.floating]
) -> Reference:
    """A domain's images, names sorted; DataError with fewer than `MIN_IMAGES`.

    Each image's own distance is taken from a fit without its fold (see `sequences`): judged as an
    image of another drive is.
    """
    if len(names) < MIN_IMAGES:
        raise DataError(
            f"domain {domain}: {len(names)} images with an embedding, expected at least "
            f"{MIN_IMAGES} to compare with"
        )
    kept = np.unique(np.linspace(0, len(names) - 1, MAX_IMAGES).round().astype(int))
    rows_ND = np.asarray(embeddings_ND, dtype=np.float64)[kept]
    fold_N = folds_of([names[index] for index in kept])
    distance_N = np.empty(len(kept))
    for fold in np.unique(fold_N):
        inside_N = fold_N == fold
        metric = fit_metric(rows_ND[~inside_N])
        distance_N[inside_N] = _nearest(metric(rows_ND[inside_N]), metric(rows_ND[~inside_N]))
    metric = fit_metric(rows_ND)
    return Reference(
        domain=domain, metric=metric, points_ND=metric(rows_ND), distances_N=np.sort(distance_N)
    )


def most_plausible(
    references: Sequence[Reference], embeddings_MD: NDArray[np.floating]
) -> tuple[Reals, list[str]]:
    """M p-values of "it comes from one of the domains", and the domain that fits best.

    The largest over the domains, which is a p-value whichever of them it is.
    """
    p_RM = np.stack([reference.p_values(embeddings_MD) for reference in references])
    best_M = p_RM.argmax(axis=0)
    return p_RM.max(axis=0), [references[index].domain for index in best_M]


def fit_references(
    embeddings: Mapping[str, tuple[Sequence[str], NDArray[np.floating]]],
) -> list[Reference]:
    """Of every domain with enough images; DataError where none has."""
    enough = {name: each for name, each in embeddings.items() if len(each[0]) >= MIN_IMAGES}
    if not enough:
        raise DataError(
            f"no domain with {MIN_IMAGES} embedded images: {sorted(embeddings)}; nothing to "
            "compare new images with"
        )
    return [fit_reference(name, names, rows_ND) for name, (names, rows_ND) in enough.items()]


def _nearest(rows_MD: Reals, others_ND: Reals) -> Reals:
    """M distances from the nearest of the others."""
    squares_MN = (
        np.square(rows_MD).sum(axis=1)[:, None]
        + np.square(others_ND).sum(axis=1)[None]
        - 2 * rows_MD @ others_ND.T
    )
    return np.sqrt(np.maximum(0, squares_MN.min(axis=1)))
