"""How far the fall that thresholds tell can be believed: rehearsed on altered validation images.

Their masks stay true, so what a model really loses in another light, colour, weather or focus can
be set beside what thresholds say it loses (in the manner of Deng & Zheng 2021, "Are labels always
necessary for classifier accuracy evaluation?", who regress accuracy over such sets).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.alterations import ALTERATIONS
from pipeline.shift.expected import Trust, measured_miou, threshold_miou
from pipeline.shift.predicted import Predictions

NUM_IMAGES = 32  # validation images that are altered, evenly: a minute on two cores
LEAST = 0.01  # of mIoU: by falls of less than a point nothing is learnt


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Of validation images altered in one way; falls in [-1, 1] from the same ones unaltered."""

    name: str
    expected_fall: float
    """By thresholds, without a look at the masks."""
    true_fall: float


def rehearse(known: Predictions, altered: Mapping[str, Predictions]) -> tuple[Rehearsal, ...]:
    """`known`: of labelled images; `altered`: of the same ones by the name of the alteration."""
    source = measured_miou(known)
    return tuple(
        Rehearsal(
            name=name,
            expected_fall=source - threshold_miou(known, each),
            true_fall=source - measured_miou(each),
        )
        for name, each in altered.items()
    )


def parted(found: Predictions) -> tuple[Predictions, dict[str, Predictions]]:
    """(known, altered) of images as they are, followed by the same ones altered in each way."""
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
    return parts[0], dict(zip(ALTERATIONS, parts[1:], strict=True))


def trust(rehearsals: Sequence[Rehearsal]) -> Trust:
    """true = scale * expected by least squares through the origin, with what it leaves over.

    The larger a fall the further off: the residual's variance is taken to grow as the fall does.
    Without rehearsals thresholds are believed as they are.
    """
    expected_R = np.array([each.expected_fall for each in rehearsals])
    true_R = np.array([each.true_fall for each in rehearsals])
    if not len(rehearsals) or np.abs(expected_R).max() < LEAST:
        return Trust()
    scale = max(0.0, float(expected_R @ true_R / (expected_R @ expected_R)))
    residual_R = true_R - scale * expected_R
    large_R = np.maximum(np.abs(expected_R), LEAST)
    return Trust(scale=scale, spread=float(np.sqrt(np.mean(residual_R**2 / large_R))))
