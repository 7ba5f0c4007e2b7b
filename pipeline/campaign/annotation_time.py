"""How long an image takes people: minutes = a + b boundary + c regions + d [pre-annotated].

Boundary and regions are the pre-annotation's, all that is known of an image before it is labelled;
without a pre-annotation both count as 0, so `a` is the time of an image from nothing. Fitted to the
tool's lead times by least squares with a, b, c >= 0, held by a weak ridge to the prior's shape at
people's own pace; d may be negative: a pre-annotation saves time.
Shape suffixes: N images, H height, W width, F = 4 terms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.campaign.acts import MOST_CORRECTIONS, Acts, minutes_of
from pipeline.errors import DataError
from pipeline.records.answers import Answer

Floats = NDArray[np.float64]

MIN_ANSWERS = 8  # below, the prior: four terms from fewer numbers would be noise
# Lead times run on while a browser tab is open: an untouched image with 1,178 s was seen. What lies
# outside these percentiles of all answers counts as the percentile itself (winsorising).
WINSORISED = (5.0, 95.0)
RIDGE = 2.0  # answers that the prior's shape is worth
SMALLEST_AREA = 1 / 2000  # of an image; speckles below are no region to a person
PIXELS_AT_ONCE = 1 << 22  # of a mask whose areas are counted
QUICKEST = 0.1  # minutes: open, look, submit


class Shape(NamedTuple):
    """What there is to draw in a mask of classes, whatever the image's size in pixels."""

    boundary: float
    """Length of the borders between classes, in sides of the image (root of its area)."""
    regions: int
    """Connected areas of one class, without speckles."""


class Timed(NamedTuple):
    """One answer and the time it took."""

    minutes: float
    shape: Shape | None
    """None = nothing was pre-annotated."""


class Pace(NamedTuple):
    """The four terms, in minutes."""

    base: float
    per_boundary: float
    per_region: float
    pre_annotated: float


# A guess for street scenes until people's own times are known: 8 minutes from nothing, and 6 for
# correcting a pre-annotation with 20 sides of boundary and 60 regions.
PRIOR = Pace(base=8.0, per_boundary=0.1, per_region=0.05, pre_annotated=-7.0)
# And for correcting only what is wrong, whatever the pre-annotation: a look, and some strokes.
CORRECTING = Pace(
    base=minutes_of(Acts(looks=1, strokes=MOST_CORRECTIONS)),
    per_boundary=0.0,
    per_region=0.0,
    pre_annotated=0.0,
)


def shape_of(classes_HW: NDArray[np.uint8]) -> Shape:
    """Boundary and regions of a mask; DataError unless it is a non-empty [H, W]."""
    if classes_HW.ndim != 2 or not classes_HW.size:
        raise DataError(f"mask of shape {classes_HW.shape}: expected [H, W], not empty")
    across = int(np.count_nonzero(classes_HW[:, 1:] != classes_HW[:, :-1]))
    down = int(np.count_nonzero(classes_HW[1:] != classes_HW[:-1]))
    areas = _areas(classes_HW)
    regions = int((areas >= SMALLEST_AREA * classes_HW.size).sum())
    return Shape((across + down) / float(np.sqrt(classes_HW.size)), regions)


def _areas(classes_HW: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Pixels of each connected area of one class (4 neighbours).

    Some rows at a time, since numbers of areas take 4 bytes a pixel; then areas that meet between
    them are joined.
    """
    step = max(1, PIXELS_AT_ONCE // classes_HW.shape[1])
    sizes: list[NDArray[np.intp]] = []
    meet: list[NDArray[np.intp]] = []
    count, above_W = 0, np.empty(0, dtype=np.intp)
    for top in range(0, len(classes_HW), step):
        area_RW, sizes_N = _labelled(classes_HW[top : top + step])
        area_RW += count
        if top:
            alike_W = classes_HW[top - 1] == classes_HW[top]
            meet.append(np.stack([above_W[alike_W], area_RW[0][alike_W]]))
        sizes.append(sizes_N)
        count, above_W = count + len(sizes_N), area_RW[-1].copy()
    pairs = np.concatenate([np.empty((2, 0), dtype=np.intp), *meet], axis=1)
    joined_N = _joined(pairs, count)
    return np.bincount(joined_N, weights=np.concatenate(sizes)).astype(np.float64)


def _labelled(classes_RW: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """area_RW: the number of each pixel's area, from 0; and the areas' pixels.

    Of runs, the stretches of one class in a row, those of one class are joined that lie above each
    other: they share columns, which begin where one of the two begins.
    """
    begins_RW = np.ones(classes_RW.shape, dtype=bool)
    np.not_equal(classes_RW[:, 1:], classes_RW[:, :-1], out=begins_RW[:, 1:])
    run_RW = begins_RW.cumsum(dtype=np.intp).reshape(classes_RW.shape)
    run_RW -= 1
    meet_RW = (classes_RW[1:] == classes_RW[:-1]) & (begins_RW[1:] | begins_RW[:-1])
    sizes_N = np.diff(np.flatnonzero(begins_RW), append=begins_RW.size)
    joined_N = _joined(np.stack([run_RW[:-1][meet_RW], run_RW[1:][meet_RW]]), len(sizes_N))
    return joined_N[run_RW], np.bincount(joined_N, weights=sizes_N).astype(np.intp)


def _joined(pairs_2P: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """joined_N: for each of `count` things the number, from 0, of those that pairs lead to."""
    from scipy.sparse import coo_matrix  # a tick that asks for no shape does without
    from scipy.sparse.csgraph import connected_components

    there = np.ones(pairs_2P.shape[1], dtype=bool)
    graph = coo_matrix((there, tuple(pairs_2P)), shape=(count, count))
    joined_N: NDArray[np.intp] = connected_components(graph, directed=False)[1]
    return joined_N


def timed(answers: Iterable[Answer]) -> list[Timed]:
    """The answers whose time the tool measured."""
    return [
        Timed(
            row.lead_s / 60,
            None if row.boundary is None else Shape(row.boundary, row.regions or 0),
        )
        for row in answers
        if row.lead_s is not None
    ]


def fit(answers: Sequence[Timed], prior: Pace = PRIOR) -> Pace:
    """People's pace; the prior below MIN_ANSWERS. DataError for a time that is none."""
    bad = [row.minutes for row in answers if not (np.isfinite(row.minutes) and row.minutes >= 0)]
    if bad:
        raise DataError(f"lead times of {bad[:3]} minutes: expected numbers of at least 0")
    if len(answers) < MIN_ANSWERS:
        return prior
    minutes_N = np.array([row.minutes for row in answers])
    minutes_N = minutes_N.clip(*np.percentile(minutes_N, WINSORISED))
    terms_NF = _terms([row.shape for row in answers])
    expected_N = (terms_NF @ prior).clip(QUICKEST)
    prior_F = np.array(prior) * minutes_N.mean() / expected_N.mean()
    return Pace(*map(float, _least_squares(terms_NF, minutes_N, prior_F)))


def expected_minutes(pace: Pace, shapes: Sequence[Shape | None]) -> Floats:
    """Minutes [N] for images whose pre-annotations have these shapes; None = no pre-annotation."""
    minutes_N: Floats = (_terms(shapes) @ pace).clip(QUICKEST)
    return minutes_N


def per_minute(scores_N: Floats, minutes_N: Floats) -> Floats:
    """Scores in [0, 1] for a minute of people's time, the quickest image's own score unchanged."""
    if scores_N.shape != minutes_N.shape or not (minutes_N > 0).all():
        raise DataError(
            f"{minutes_N.shape} minutes for {scores_N.shape} scores: expected one above 0 each"
        )
    return scores_N * (minutes_N.min() / minutes_N) if len(minutes_N) else scores_N


def _terms(shapes: Sequence[Shape | None]) -> Floats:
    return np.array(
        [(1, 0, 0, 0) if shape is None else (1, *shape, 1) for shape in shapes], dtype=np.float64
    ).reshape(-1, 4)


def _least_squares(terms_NF: Floats, minutes_N: Floats, prior_F: Floats) -> Floats:
    """Minimum of the squared error plus RIDGE times the squared way from the prior, each term in
    units of its usual size; all but the last, what a pre-annotation saves, held at 0 or above."""
    from scipy.optimize import lsq_linear

    sizes_F = np.sqrt((terms_NF**2).mean(axis=0)).clip(1e-3)
    pull_FF = np.diag(np.sqrt(RIDGE) * sizes_F)
    rows = np.concatenate([terms_NF, pull_FF])
    wanted = np.concatenate([minutes_N, pull_FF @ prior_F])
    least = np.array([0.0, 0.0, 0.0, -np.inf])
    found_F: Floats = lsq_linear(rows, wanted, bounds=(least, np.inf), method="bvls").x
    return found_F
