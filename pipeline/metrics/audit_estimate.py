"""How good the teacher is on images drawn at random, also where no validation image was given.

Each drawn image is judged by the teacher of the round that drew it, which had not learnt from its
label. Later rounds draw from fewer candidates, so an image counts by the inverse of its chance of
being drawn (Horvitz and Thompson 1952): the sum of weighted counts is without bias that of all
candidates of all rounds, each judged by its round's teacher.
Shape suffixes: N images, K classes, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.metrics.bootstrap import percentile_interval
from pipeline.metrics.per_image import MIN_IMAGES, Areas, Floats, mious, resamples
from pipeline.records.answers import Answer


@dataclass(frozen=True, kw_only=True)
class AuditEstimate:
    """mIoU on random images; None below MIN_IMAGES. `no_answer` and `no_teacher` are left out."""

    num_images: int
    miou: float | None
    low: float | None
    high: float | None
    no_answer: int
    """Drawn, and refused or not answered when the round closed."""
    no_teacher: int
    """Drawn before there was a teacher, or by a version that did not note the chance."""


def describe(found: AuditEstimate) -> str:
    """In a sentence or two: the estimate, or that the images are too few, and what is left out."""
    images = f"{found.num_images} image{'' if found.num_images == 1 else 's'} drawn at random"
    if found.miou is None or found.low is None or found.high is None:
        text = f"Too few images for a number: {images}, at least {MIN_IMAGES} are needed."
    else:
        text = (
            f"{found.miou:.2f} mIoU, {found.low:.2f} to {found.high:.2f} with 95 % confidence, on "
            f"{images}, each judged by the teacher of its round before it learnt from the label."
        )
    left_out = [
        f"{number} {what}"
        for number, what in (
            (found.no_answer, "without an answer"),
            (found.no_teacher, "drawn before there was a teacher"),
        )
        if number
    ]
    return f"{text} Left out: {', '.join(left_out)}." if left_out else text


def audit_estimate(answers: Sequence[Answer], num_classes: int) -> AuditEstimate:
    """From the audit picks among `answers`; the same answers give the same interval."""
    drawn = [answer for answer in answers if answer.source == "audit"]
    scored = [answer for answer in drawn if answer.counts and answer.chance is not None]
    no_answer = sum(not answer.mask_sha256 for answer in drawn)
    miou = low = high = None
    if len(scored) >= MIN_IMAGES:
        weights_N = np.array([1 / answer.chance for answer in scored if answer.chance is not None])
        miou, low, high = weighted_miou(_areas(scored, num_classes), weights_N)
    return AuditEstimate(
        num_images=len(scored),
        miou=miou,
        low=low,
        high=high,
        no_answer=no_answer,
        no_teacher=len(drawn) - len(scored) - no_answer,
    )


def weighted_miou(areas: Areas, weights_N: Floats) -> tuple[float, float, float]:
    """mIoU of the weighted sum over images, and its bootstrap interval over images."""
    resampled_R = mious(areas, resamples(len(weights_N)) * weights_N)
    return float(mious(areas, weights_N[None])[0]), *percentile_interval(resampled_R)


def _areas(answers: Sequence[Answer], num_classes: int) -> Areas:
    areas = Areas(*(np.zeros((len(answers), num_classes)) for _ in Areas._fields))
    for row, answer in enumerate(answers):
        for truth, predicted, pixels in answer.counts:
            areas.truth_NK[row, truth] += pixels
            areas.predicted_NK[row, predicted] += pixels
            if truth == predicted:
                areas.hits_NK[row, truth] += pixels
    return areas
