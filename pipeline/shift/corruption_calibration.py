"""Calibration of the estimated fall in mIoU, on synthetic corruptions of validation images.

Their masks stay true, so what a model really loses in another light, colour, weather or focus can
be set beside what thresholds say it loses (in the manner of Deng & Zheng 2021, "Are labels always
necessary for classifier accuracy evaluation?", who regress accuracy over such sets). What changes
images as the new ones are changed tells more than what changes them otherwise.

R rehearsals, N images, E features of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.data.corruptions import ALTERATIONS
from pipeline.shift.forward import Picture, thinned
from pipeline.shift.miou_estimate import Trust, measured_miou, threshold_miou
from pipeline.shift.predictions import Predictions
from pipeline.shift.time_blocks import Embeddings
from pipeline.shift.two_sample import Floats

NUM_IMAGES = 32  # validation images that are altered, evenly: a minute on two cores
LEAST = 0.01  # of mIoU: by falls of less than a point nothing is learnt
# What goes the way of the new images weighs e^4 times what goes across. On the day's real networks
# (benchmarks/results/shift_rules.md) 6 and 8 are hardly nearer, and leave less to tell the spread.
ALIKE = 4.0


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """One corruption of validation images; falls of mIoU in [-1, 1] from the clean images."""

    name: str
    expected_fall: float
    """The fall that thresholds estimate, without masks."""
    true_fall: float
    direction: float = 0.0
    """Cosine in [-1, 1]: 1 = changes images as the new domain does, 0 = in an unrelated way."""


def rehearse(
    known: Predictions,
    altered: Mapping[str, Predictions],
    direction: Mapping[str, float] | None = None,
) -> tuple[Rehearsal, ...]:
    """`known`: of labelled images; `altered`: of the same ones by the name of the alteration.

    `direction` as of `directions`; None: no alteration is more like the new images than another.
    """
    source = measured_miou(known)
    direction = direction or {}
    return tuple(
        Rehearsal(
            name=name,
            expected_fall=source - threshold_miou(known, each),
            true_fall=source - measured_miou(each),
            direction=direction.get(name, 0.0),
        )
        for name, each in altered.items()
    )


def altered_each_way(val: Sequence[Picture]) -> list[Picture]:
    """Some validation images, clean and then under each corruption; empty without any."""
    few = thinned(val, NUM_IMAGES)
    return [each._replace(altered=way) for way in (None, *ALTERATIONS.values()) for each in few]


class Parted(NamedTuple):
    """Predictions on validation images."""

    known: Predictions
    """On the clean ones."""
    altered: dict[str, Predictions]
    """On the same under each corruption, by its name."""


def parted(found: Predictions) -> Parted:
    """The parts of predictions on images in the order of `altered_each_way`."""
    size = len(found.run_N) // (1 + len(ALTERATIONS))
    parts = [
        Predictions(
            logits_NMK=found.logits_NMK[first : first + size],
            other_NM=None,
            truth_NM=None if found.truth_NM is None else found.truth_NM[first : first + size],
            run_N=found.run_N[:size],
        )
        for first in range(0, len(found.run_N), size)
    ]
    return Parted(parts[0], dict(zip(ALTERATIONS, parts[1:], strict=True)))


def directions(
    known_NE: Embeddings, target_NE: Embeddings, tried_NE: Embeddings
) -> dict[str, float]:
    """Cosine between each corruption's shift of the mean embedding and the new domain's, by name.

    Of mean embeddings, every feature by its spread over `known_NE`. `tried_NE`: of images in the
    order of `altered_each_way`.
    """
    spread_E = np.maximum(known_NE.std(axis=0), 1e-6)
    start_E, *moved = (part_NE.mean(axis=0) for part_NE in np.split(tried_NE, 1 + len(ALTERATIONS)))
    way_E = (target_NE.mean(axis=0) - known_NE.mean(axis=0)) / spread_E
    return {
        name: _cosine(way_E, (moved_E - start_E) / spread_E)
        for name, moved_E in zip(ALTERATIONS, moved, strict=True)
    }


def trust(rehearsals: Sequence[Rehearsal]) -> Trust:
    """Least squares through the origin: true fall = scale * expected fall, and the residual spread.

    The larger a fall the further off: the residual's variance is taken to grow as the fall does,
    and is corrected for the few that have a weight. Without rehearsals thresholds are believed as
    they are.
    """
    expected_R = np.array([each.expected_fall for each in rehearsals])
    true_R = np.array([each.true_fall for each in rehearsals])
    if not len(rehearsals) or np.abs(expected_R).max() < LEAST:
        return Trust()
    weight_R, large_R = _weights(rehearsals), np.maximum(np.abs(expected_R), LEAST)
    pull_R = weight_R / large_R * expected_R
    scale = max(0.0, float(pull_R @ true_R / (pull_R @ expected_R)))
    left_R = (true_R - scale * expected_R) ** 2 / large_R
    count = weight_R.sum() ** 2 / (weight_R**2).sum()  # as many alike would tell as much (Kish)
    variance = np.average(left_R, weights=weight_R) * count / max(count - 1, 1.0)
    return Trust(scale=scale, spread=float(np.sqrt(variance)))


def _weights(rehearsals: Sequence[Rehearsal]) -> Floats:
    """weight_R = e^(4 cosine): 1 for a corruption unrelated to the change in the new images."""
    return np.exp(ALIKE * np.array([each.direction for each in rehearsals], dtype=np.float64))


def _cosine(one_E: Embeddings, other_E: Embeddings) -> float:
    """Cosine of two directions; 0 where one of them has no length."""
    length = float(np.linalg.norm(one_E) * np.linalg.norm(other_E))
    return float(one_E @ other_E) / length if length > 0 else 0.0
