"""Conformal p-values of embeddings against known domains, by distance to the nearest image.

The distance to the nearest image of the domain (Angelopoulos & Bates 2023, section 2, for the
p-value; Laxhammar & Falkman 2010 for nearest neighbours) in coordinates of the domain's own spread
(probabilistic principal components, Tipping & Bishop 1999). Each scale of the encoder by itself:
in the distance of all joined the many features of the deep ones outweigh a change of the light,
which shows in the few of the shallow ones.

N images of the reference, M images that are judged, R references, S scales, D features (of one
scale in a `ScaleReference`, else of all side by side), F folds, K components.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.drift.sequences import folds_of
from pipeline.errors import DataError

COMPONENTS = 16  # more fit the drives that are there, and then a new one looks foreign
MIN_IMAGES = 8  # p is at least 1 / (N + 1): with fewer nothing could be noticed
MAX_IMAGES = 2000  # of a domain, evenly over its sequences; distances cost the square
TINY = 1e-12
# A handful of odd images is no shift: one counts at most as one in fifty, and needs company.
FLOOR = 0.02

Reals = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """One known domain."""

    domain: str
    scales_S: tuple[ScaleReference, ...]

    def p_values(self, embeddings_MD: NDArray[np.floating]) -> Reals:
        """Conformal p-values p_MS in [FLOOR, 1]: `shares`, at least FLOOR.

        Still at most u with probability u or less: a p-value that is made larger remains one.
        """
        return np.maximum(FLOOR, self.shares(embeddings_MD))

    def shares(self, embeddings_MD: NDArray[np.floating]) -> Reals:
        """Conformal p-values, MxS, without the floor."""
        rows_SMD = _by_scale(embeddings_MD, [scale.width for scale in self.scales_S])
        return np.stack(
            [scale.shares(rows_MD) for scale, rows_MD in zip(self.scales_S, rows_SMD, strict=True)],
            axis=1,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ScaleReference:
    """The domain at one scale of the encoder."""

    metric: Metric
    points_ND: Reals
    """The domain's images in the coordinates of `metric`."""
    distances_N: Reals
    """Sorted distances of the domain's images, each to the nearest of another fold."""

    @property
    def width(self) -> int:
        """Columns of the features of this scale."""
        return len(self.metric.mean_D)

    def shares(self, embeddings_MD: NDArray[np.floating]) -> Reals:
        """M p-values in (0, 1]: share of the domain at least as far off, the image itself counted.

        At most u with probability u or less where the image comes from the domain, since it is
        compared with all of the reference and those of the reference with a part.
        """
        distance_M = _nearest(self.metric(embeddings_MD), self.points_ND)
        nearer_M = np.searchsorted(self.distances_N, distance_M, side="left")
        return (1 + len(self.distances_N) - nearer_M) / (1 + len(self.distances_N))


@dataclass(frozen=True, kw_only=True, eq=False)
class Metric:
    """Whitening by PPCA: coordinates in which the images' spread is 1 in every direction."""

    mean_D: Reals
    whiten_DD: Reals

    def __call__(self, embeddings_MD: NDArray[np.floating]) -> Reals:
        """Whitened coordinates, MxD."""
        return (np.asarray(embeddings_MD, dtype=np.float64) - self.mean_D) @ self.whiten_DD


def fit_metric(embeddings_ND: NDArray[np.floating]) -> Metric:
    """Fit x -> (x - m) S^(-1/2), S = V diag(v_1..v_K) V' + s (I - V V'): PPCA.

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
    domain: str,
    names: Sequence[str],
    embeddings_ND: NDArray[np.floating],
    scale_widths: Sequence[int],
) -> Reference:
    """Fit a reference on a domain's images, names sorted; DataError with fewer than `MIN_IMAGES`.

    ValueError where the widths of the scales are not those of the rows.
    """
    if len(names) < MIN_IMAGES:
        raise DataError(
            f"domain {domain}: {len(names)} images with an embedding, expected at least "
            f"{MIN_IMAGES} to compare with"
        )
    kept = np.unique(np.linspace(0, len(names) - 1, MAX_IMAGES).round().astype(int))
    fold_N = folds_of([names[index] for index in kept])
    rows_SND = _by_scale(np.asarray(embeddings_ND)[kept], scale_widths)
    return Reference(
        domain=domain, scales_S=tuple(_fit_scale(rows_ND, fold_N) for rows_ND in rows_SND)
    )


def _fit_scale(rows_ND: Reals, fold_N: NDArray[np.intp]) -> ScaleReference:
    """Each image's own distance is taken from a fit without its fold (see `sequences`).

    So it is judged as an image of another drive is.
    """
    distance_N = np.empty(len(rows_ND))
    for fold in np.unique(fold_N):
        inside_N = fold_N == fold
        metric = fit_metric(rows_ND[~inside_N])
        distance_N[inside_N] = _nearest(metric(rows_ND[inside_N]), metric(rows_ND[~inside_N]))
    metric = fit_metric(rows_ND)
    return ScaleReference(metric=metric, points_ND=metric(rows_ND), distances_N=np.sort(distance_N))


class Plausibility(NamedTuple):
    """How well images fit the known domains."""

    p_MS: Reals
    """p-values of the hypothesis that an image is from one of them, per scale."""
    domains: list[str]
    """The one that fits best, per image."""


def most_plausible(
    references: Sequence[Reference], embeddings_MD: NDArray[np.floating]
) -> Plausibility:
    """Of each image the p-values over all domains, and the domain that fits it best.

    Per scale the largest over the domains, which is a p-value whichever of them it is. What fits
    best has the largest geometric mean over the scales, without the floor that makes all of the
    far ones alike.
    """
    p_RMS = np.stack([reference.shares(embeddings_MD) for reference in references])
    best_M = np.log(p_RMS).mean(axis=2).argmax(axis=0)
    return Plausibility(
        p_MS=np.maximum(FLOOR, p_RMS.max(axis=0)),
        domains=[references[index].domain for index in best_M],
    )


class DomainEmbeddings(NamedTuple):
    """The embedded images of one domain."""

    names: Sequence[str]
    rows_ND: NDArray[np.floating]
    scale_widths: Sequence[int]
    """Features of each scale, side by side in a row."""


def fit_references(embeddings: Mapping[str, DomainEmbeddings]) -> list[Reference]:
    """Fit a reference to every domain with enough images.

    DataError where none has enough, and where the widths are not the same for all.
    """
    enough = {name: each for name, each in embeddings.items() if len(each.names) >= MIN_IMAGES}
    if not enough:
        raise DataError(
            f"no domain with {MIN_IMAGES} embedded images: {sorted(embeddings)}; nothing to "
            "compare new images with"
        )
    widths = {name: list(each.scale_widths) for name, each in enough.items()}
    if len({tuple(each) for each in widths.values()}) > 1:
        raise DataError(
            f"embeddings with scales of different widths: {widths}; make them again: "
            "`dvc repro --force embed`"
        )
    return [fit_reference(name, *each) for name, each in enough.items()]


def _by_scale(rows_ND: NDArray[np.floating], scale_widths: Sequence[int]) -> Iterator[Reals]:
    """Slices of the columns, one per scale."""
    width = np.asarray(rows_ND).shape[1]
    if not scale_widths or min(scale_widths) < 1 or sum(scale_widths) != width:
        raise ValueError(
            f"scales of {list(scale_widths)} features: expected numbers of 1 or more with the sum "
            f"{width}, the width of the embeddings"
        )
    ends = np.cumsum(scale_widths)[:-1]
    return iter(np.split(np.asarray(rows_ND, dtype=np.float64), ends, axis=1))


def _nearest(rows_MD: Reals, others_ND: Reals) -> Reals:
    """M Euclidean distances from the nearest of the others.

    Not sklearn's `pairwise_distances_argmin_min`, which a watch would import at every look and
    which takes 1.7 times as long for 1,500 rows of 1,024 features; scipy's `cdist` takes 6 times.
    """
    squares_MN = (
        np.square(rows_MD).sum(axis=1)[:, None]
        + np.square(others_ND).sum(axis=1)[None]
        - 2 * rows_MD @ others_ND.T
    )
    return np.sqrt(np.maximum(0, squares_MN.min(axis=1)))
