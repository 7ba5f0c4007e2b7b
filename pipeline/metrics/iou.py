"""Confusion matrices and what is read from them; counts first, shares last. K classes.

Counts of all images are added up before anything is divided: the IoU of the papers, which a mean
over images or batches is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.types import IGNORE


def confusion_matrix(predicted_HW: Tensor, truth_HW: Tensor, num_classes: int) -> Tensor:
    """int64 KxK counts, row = truth, column = prediction; IGNORE in the truth is left out."""
    valid = truth_HW != IGNORE
    cells = truth_HW[valid].long() * num_classes + predicted_HW[valid].long()
    return torch.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def iou_per_class(confusion_KK: Tensor) -> list[float | None]:
    """Intersection over union in [0, 1]; None for a class that the truth does not have.

    Not yet measurable, then: seen where it cannot be is seen instead of another class, whose IoU
    falls by it.
    """
    there = confusion_KK.sum(1).tolist()
    return [iou if size else None for iou, size in zip(_overlaps(confusion_KK), there, strict=True)]


def agreement(confusion_KK: Tensor) -> float | None:
    """Mean IoU of two predictions, over the classes of either; None without a pixel."""
    return mean_iou(_overlaps(confusion_KK))


def mean_iou(ious: Sequence[float | None]) -> float | None:
    """Mean over the classes that the truth has; None if it has none: not yet measurable, not 0."""
    known = [iou for iou in ious if iou is not None]
    return sum(known) / len(known) if known else None


def _overlaps(confusion_KK: Tensor) -> list[float | None]:
    """Intersection over union; None for a class in neither rows nor columns."""
    hits = confusion_KK.diagonal()
    union = confusion_KK.sum(0) + confusion_KK.sum(1) - hits
    return [
        float(hit) / float(size) if size else None
        for hit, size in zip(hits.tolist(), union.tolist(), strict=True)
    ]
