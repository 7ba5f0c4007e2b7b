"""What speaks for a patch being of the marked thing, before its neighbours are asked.

A logistic regression of few terms: class probability, distance, colour, and the cheapest way from
the marks. N patches, S marked ones, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.clicks.patches.marked_patches import MarkedPatches
from pipeline.clicks.patches.prepared_image import PreparedImage
from pipeline.clicks.patches.propagation import Floats, Places, geodesic

SURE = 0.02  # no probability counts as nearer to 0 or 1
NEAR = 0.02  # of the image's longer side: closer than that is at the mark
CHEAP = 0.05  # the same of a way's cost


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Of the terms; fitted once to the patches of CamVid's and synthetic streets' things after one
    to four simulated clicks (docs/decisions/012-click-engine.md)."""

    bias: float
    odds: float
    """Of the log odds of the class."""
    distance: float
    colour: float
    way: float
    negative: float
    """Where there is a negative mark at all."""
    distance_gap: float
    """How much farther the nearest negative mark is than the nearest positive one, in logs."""
    colour_gap: float
    way_gap: float


def evidence(
    image: PreparedImage,
    marked: MarkedPatches,
    class_index: int,
    costs_P: Floats,
    weights: Weights,
) -> Floats:
    """chance_N in (0, 1) of each patch, by itself."""
    near = _from(image, marked.positive_S, costs_P)
    odds = weights.bias + weights.distance * near.distance
    odds += weights.colour * near.colour + weights.way * near.way
    if image.probs_NK.shape[1]:
        odds += weights.odds * log_odds(image.probs_NK[:, class_index])
    if len(marked.negative_S):
        far = _from(image, marked.negative_S, costs_P)
        odds += weights.negative + weights.distance_gap * (far.distance - near.distance)
        odds += weights.colour_gap * (far.colour - near.colour)
        odds += weights.way_gap * (far.way - near.way)
    return (1 / (1 + np.exp(-odds))).astype(np.float32)


def log_odds(chance: Floats) -> Floats:
    """Bounded at both ends."""
    return np.log((chance + SURE) / (1 - chance + SURE))


@dataclass(frozen=True, eq=False)
class _Distances:
    """From the nearest of some marks."""

    distance: Floats
    colour: Floats
    way: Floats


def _from(image: PreparedImage, marked_S: Places, costs_P: Floats) -> _Distances:
    place = _nearest(image.place_N2, image.place_N2[marked_S])
    way = geodesic(image, costs_P, marked_S)
    return _Distances(
        distance=np.log(place + NEAR),
        colour=_nearest(image.colour_N3, image.colour_N3[marked_S]),
        way=np.log(way + CHEAP),
    )


def _nearest(values_ND: Floats, marked_SD: Floats) -> Floats:
    """distance_N to the nearest row of `marked_SD`; mark by mark, for memory."""
    least = np.full(len(values_ND), np.inf, np.float32)
    for marked_D in marked_SD:
        np.minimum(least, np.square(values_ND - marked_D).sum(1), out=least)
    return np.sqrt(least)


WITH_TEACHER = Weights(
    bias=-3.5,
    odds=0.51,
    distance=-2.68,
    colour=-1.95,
    way=-0.76,
    negative=-0.53,
    distance_gap=-1.08,
    colour_gap=0.34,
    way_gap=2.12,
)
WITHOUT_TEACHER = Weights(
    bias=-1.5,
    odds=0.0,
    distance=-2.48,
    colour=-2.94,
    way=-1.15,
    negative=-0.57,
    distance_gap=-1.59,
    colour_gap=-0.06,
    way_gap=2.48,
)
