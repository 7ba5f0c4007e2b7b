"""Estimate of a model's mIoU on unlabelled images, with an interval.

Average thresholded confidence (Garg et al. 2022), for each class by itself: on validation images a
threshold of the negative entropy leaves as many pixels above it as are right; the share above it
elsewhere is taken for the share that is right there. What is wrong is spread over the other classes
as on validation images, which gives a confusion matrix and so an mIoU. The fall that this gives is
scaled by a calibration on corrupted validation images (corruption_calibration.py).

Where images lie far from all known ones a model is sure and wrong, and no threshold works: there
the estimate is the mIoU of chance. Chosen on which data: docs/decisions/001-miou-estimate.md.
N images, K classes, Q bins of a score, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import percentile_interval, resampled_blocks
from pipeline.shift.predictions import Predictions, confusions
from pipeline.shift.two_sample import Floats, Triple
from pipeline.types import IGNORE

NUM_BINS = 128
NUM_RESAMPLES = 400
FEWEST = 50  # validation pixels seen as a class; below, all classes' threshold is its own
# Novelty: up to the first, thresholds are used; from the second on, the mIoU of chance. On CamVid's
# day images in another light thresholds hold up to 2.3; between stainings of DSB2018, from 2.3 on,
# they do not.
NEAR, FAR = 2.0, 2.5
SEED = 0
SURE = 1.96  # standard deviations on either side: 95 %


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Calibration of a fall in mIoU that thresholds estimate: its scale and its spread."""

    scale: float = 1.0
    """True fall per estimated fall, at least 0."""
    spread: float = 0.0
    """Standard deviation of the residual for a fall of 1; it grows as the fall's root."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Estimated mIoU of one model on unlabelled images; every figure in [0, 1]."""

    miou: Triple
    source_miou: Triple
    """mIoU on the labelled validation images, measured, not estimated."""
    by_threshold: float
    """mIoU by thresholds alone: unscaled, and without the mIoU of chance far from known images."""
    by_chance: float
    """mIoU of chance: predictions independent of the truth."""
    iou: tuple[float | None, ...]
    """IoU per class, by thresholds and scaled; None for a class that no validation pixel has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Counts:
    """Pixel counts by predicted class (the last row: all classes) and by bin of the score."""

    seen_NKQ: Floats
    confusion_NKK: Floats | None = None


def measured_miou(predictions: Predictions) -> float:
    """mIoU by the masks, which the predictions must have."""
    return miou(confusions(predictions).sum(axis=0))


def threshold_miou(val: Predictions, target: Predictions) -> float:
    """mIoU of `target` by thresholds alone, without its masks."""
    return miou(_confusion(*_counts(val, target), *_once(val, target))[0])


def expected_miou(
    val: Predictions, target: Predictions, novelty: float | None, trust: Trust | None = None
) -> Expected:
    """Estimated mIoU of the model that made both predictions; only `val` needs masks.

    The interval holds what other validation and target images might have given (a bootstrap over
    runs), what `trust` leaves open, and below a share of the way to chance that grows with
    `novelty` (None: 1, more of the same).
    """
    known, asked = _counts(val, target)
    found_KK = _confusion(known, asked, *_once(val, target))[0]
    rng = np.random.default_rng(SEED)
    weights = [resampled_blocks(each.run_N, NUM_RESAMPLES, rng) for each in (val, target)]
    spread = percentile_interval([miou(each) for each in _confusion(known, asked, *weights)])
    assert known.confusion_NKK is not None
    source_RKK = np.einsum("rn,nij->rij", weights[0], known.confusion_NKK)
    source_KK = known.confusion_NKK.sum(axis=0)
    source = percentile_interval([miou(each) for each in source_RKK])
    by_chance = chance_miou(found_KK.sum(axis=0), source_KK.sum(axis=1))
    expected = Expected(
        miou=(miou(found_KK), *spread),
        source_miou=(miou(source_KK), *source),
        by_threshold=miou(found_KK),
        by_chance=by_chance,
        iou=ious(found_KK),
    )
    trust = trust or Trust()
    scaled = replace(expected, iou=_scaled_ious(ious(source_KK), expected.iou, trust.scale))
    return _extrapolated(scaled, 1.0 if novelty is None else novelty, trust)


def chance_miou(seen_K: Floats, there_K: Floats) -> float:
    """mIoU of predictions independent of the truth, from shares of predicted and true classes."""
    return miou(np.outer(there_K / there_K.sum(), seen_K / seen_K.sum()).astype(np.float64))


def ious(confusion_KK: Floats) -> tuple[float | None, ...]:
    """IoU per class; None for one that no pixel has, as `pipeline.metrics.iou.iou_per_class`."""
    hits_K, there_K = np.diag(confusion_KK), confusion_KK.sum(axis=1)
    unions_K = there_K + confusion_KK.sum(axis=0) - hits_K
    return tuple(
        float(hit / union) if there > 0 else None
        for hit, union, there in zip(hits_K, unions_K, there_K, strict=True)
    )


def miou(confusion_KK: Floats) -> float:
    """Mean IoU over the classes that any pixel has; 0 where none has."""
    known = [iou for iou in ious(confusion_KK) if iou is not None]
    return float(np.mean(known)) if known else 0.0


def _scaled(source: float, value: float, scale: float) -> float:
    """`value` with its fall from `source` scaled; in [0, 1]."""
    return min(1.0, max(0.0, source - scale * (source - value)))


def _scaled_ious(
    source_K: Sequence[float | None], found_K: Sequence[float | None], scale: float
) -> tuple[float | None, ...]:
    return tuple(
        found if source is None or found is None else _scaled(source, found, scale)
        for source, found in zip(source_K, found_K, strict=True)
    )


def _extrapolated(found: Expected, novelty: float, trust: Trust) -> Expected:
    """Scale the fall, go over to chance as `novelty` goes from NEAR to FAR, widen the interval."""
    source = found.source_miou[0]
    value, low, high = (_scaled(source, each, trust.scale) for each in found.miou)
    left_open = SURE * trust.spread * float(np.sqrt(abs(source - found.by_threshold)))
    chance = min(found.by_chance, value)
    beyond = min(1.0, max(0.0, novelty - 1))
    far = min(1.0, max(0.0, (novelty - NEAR) / (FAR - NEAR)))
    expected = (1 - far) * value + far * chance
    lowest = low - max(beyond * (value - chance), left_open)
    interval = (max(0.0, min(lowest, expected)), min(1.0, max(high + left_open, expected)))
    return replace(found, miou=(expected, *interval))


def _counts(val: Predictions, target: Predictions) -> tuple[_Counts, _Counts]:
    edges_KQ = _edges(val)
    return (
        _Counts(seen_NKQ=_binned(val, edges_KQ), confusion_NKK=confusions(val)),
        _Counts(seen_NKQ=_binned(target, edges_KQ)),
    )


def _once(val: Predictions, target: Predictions) -> tuple[Floats, Floats]:
    """Weights that count every image of both once."""
    return np.ones((1, len(val.run_N))), np.ones((1, len(target.run_N)))


def _edges(val: Predictions) -> Floats:
    """Edges between bins of the score, per class and over all; equally many validation pixels each.

    Repeated where there are too few.
    """
    labelled_NM = _counted(val)
    score_X, seen_X = _scores(val)[labelled_NM], val.class_NM[labelled_NM]
    shares = np.arange(1, NUM_BINS) / NUM_BINS
    whole = np.quantile(score_X, shares)
    found = []
    for index in range(val.num_classes):
        own = score_X[seen_X == index]
        found.append(np.quantile(own, shares) if len(own) >= FEWEST else whole)
    return np.stack([*found, whole])


def _binned(predictions: Predictions, edges_KQ: Floats) -> Floats:
    """seen_NKQ."""
    score_NM, seen_NM = _scores(predictions), predictions.class_NM
    counts = np.zeros((len(score_NM), len(edges_KQ), NUM_BINS))
    image_NM = np.broadcast_to(np.arange(len(score_NM))[:, None], score_NM.shape)
    counted_NM = _counted(predictions)
    for index, edges_Q in enumerate(edges_KQ):
        chosen = counted_NM & ((seen_NM == index) | (index == predictions.num_classes))
        bins = np.searchsorted(edges_Q, score_NM[chosen], side="right")
        np.add.at(counts[:, index], (image_NM[chosen], bins), 1)
    return counts


def _counted(predictions: Predictions) -> NDArray[np.bool_]:
    """Mask of the pixels with a label; all pixels without masks."""
    if predictions.truth_NM is None:
        return np.ones(predictions.class_NM.shape, dtype=bool)
    return predictions.truth_NM != IGNORE


def _scores(predictions: Predictions) -> NDArray[np.float32]:
    """Score per pixel, the negative entropy: higher = more certain."""
    entropy_NM, _ = predictions.scores()
    return -entropy_NM


def _confusion(known: _Counts, asked: _Counts, known_RN: Floats, asked_RN: Floats) -> Floats:
    """Expected counts_RKK on the target: row = truth, column = prediction."""
    assert known.confusion_NKK is not None
    val_RKQ = np.einsum("rn,nkq->rkq", known_RN, known.seen_NKQ)
    target_RKQ = np.einsum("rn,nkq->rkq", asked_RN, asked.seen_NKQ)
    confusion_RKK = np.einsum("rn,nij->rij", known_RN, known.confusion_NKK)
    right_RK = _right(confusion_RKK)
    num = right_RK.shape[1] - 1
    precise_RK = np.empty((len(right_RK), num))
    # Their pixels lie in the bins of all classes, by `_edges`.
    seldom_K = known.seen_NKQ[:, :num].sum(axis=(0, 2)) < FEWEST
    for at, right_K in enumerate(right_RK):
        for index in range(num):
            row = num if seldom_K[index] else index
            precise_RK[at, index] = _share_above(
                val_RKQ[at, row], target_RKQ[at, index], right_K[row]
            )
    seen_RK = target_RKQ[:, :num].sum(axis=2)
    found_RKK = (seen_RK * (1 - precise_RK))[:, None, :] * _mistaken_for(confusion_RKK)
    found_RKK[:, np.arange(num), np.arange(num)] = seen_RK * precise_RK
    return found_RKK


def _right(confusion_RKK: Floats) -> Floats:
    """Share of correct pixels among those predicted as each class, and among all."""
    hits_RK = np.einsum("rii->ri", confusion_RKK)
    seen_RK = confusion_RKK.sum(axis=1)
    overall_R = hits_RK.sum(axis=1) / np.maximum(seen_RK.sum(axis=1), 1)
    own_RK = np.where(seen_RK > 0, hits_RK / np.maximum(seen_RK, 1), overall_R[:, None])
    return np.concatenate([own_RK, overall_R[:, None]], axis=1)


def _mistaken_for(confusion_RKK: Floats) -> Floats:
    """share_RKK: of wrong pixels predicted as the column's class, the share that is the row's."""
    # A trace of how common the classes are: for one that was never wrong on validation images.
    common_RK = confusion_RKK.sum(axis=2) / np.maximum(confusion_RKK.sum(axis=(1, 2)), 1)[:, None]
    wrong_RKK = confusion_RKK + 1e-6 * common_RK[:, :, None]
    num = wrong_RKK.shape[1]
    wrong_RKK[:, np.arange(num), np.arange(num)] = 0
    sums = wrong_RKK.sum(axis=1, keepdims=True)
    return np.divide(wrong_RKK, sums, out=np.full_like(wrong_RKK, 1 / num), where=sums > 0)


def _share_above(val_Q: Floats, target_Q: Floats, right: float) -> float:
    """Share of target pixels above the score that a share `right` of validation pixels exceeds."""
    if target_Q.sum() == 0 or val_Q.sum() == 0:
        return right
    below_val, below_target = (
        np.concatenate([[0.0], np.cumsum(each_Q) / each_Q.sum()]) for each_Q in (val_Q, target_Q)
    )
    return 1 - float(np.interp(1 - right, below_val, below_target))
