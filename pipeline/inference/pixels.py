"""What the teacher and its members say about every pixel of one image, strip by strip.

Only a strip's probabilities are ever there, so that memory grows with neither the classes nor the
members of a large image. K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.inference.logits import resize_rows
from pipeline.inference.tiles import View
from pipeline.metrics.iou import agreement, confusion_matrix
from pipeline.uncertainty.ensemble import Members, disagreement
from pipeline.uncertainty.scores import Floats, least_confidence, margin

STRIP = 1 << 18  # values of one opinion at once, 1 MiB: what a second-level cache holds


@dataclass(frozen=True, kw_only=True)
class Views:
    """Whose opinions are asked."""

    members: tuple[View, ...]
    """The teacher first; predictions are their mean."""
    snapshots: tuple[View, ...] = ()
    """The teacher earlier in its training."""
    student: View | None = None
    gradients: View | None = None
    """No opinion: what a label would do to the teacher's last layer, cell by cell."""

    @property
    def all(self) -> list[View]:
        """Each once."""
        more = [view for view in (self.student, self.gradients) if view is not None]
        return list(dict.fromkeys([*self.members, *self.snapshots, *more]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What is said about one image."""

    classes_HW: NDArray[np.uint8]
    """The likeliest."""
    scores: dict[str, Floats]
    """HxW in [0, 1] by name: entropy, margin, least_confidence; with members bald; with a student
    disagreement, between teacher and student."""
    entropy_K: NDArray[np.float64]
    """Mean over the pixels of entropy times each class's probability; sums up to the mean entropy
    (the class-stratified entropy of ClaSP PE, 2026)."""
    instability: float | None
    """1 - mean IoU of the earlier teachers' classes with the teacher's, their mean (the opposite of
    ST++'s reliability); None without them."""


class _Strip(NamedTuple):
    """The same of some rows; `entropy_K` is a sum, `confusions` are counts for each snapshot."""

    classes_HW: NDArray[np.uint8]
    scores: dict[str, Floats]
    entropy_K: NDArray[np.float64]
    confusions: list[Tensor]


def predict_pixels(
    views: Views, logits: Mapping[View, Tensor], size: tuple[int, int]
) -> Prediction:
    """At `size` (height, width), from each view's logits_KHW at the size it was seen at."""
    num_classes = len(logits[views.members[0]])
    step = max(1, STRIP // (num_classes * size[1]))
    strips = []
    for first in range(0, size[0], step):
        rows = slice(first, first + step)

        def probs_of(view: View, rows: slice = rows) -> Floats:
            probs_KHW = resize_rows(logits[view], size, rows).softmax(dim=0)
            return probs_KHW.cpu().numpy()

        strips.append(_predict_strip(views, probs_of))
    entropy_K = np.sum([strip.entropy_K for strip in strips], axis=0) / (size[0] * size[1])
    return Prediction(
        classes_HW=np.concatenate([strip.classes_HW for strip in strips]),
        scores={
            name: np.concatenate([strip.scores[name] for strip in strips])
            for name in strips[0].scores
        },
        entropy_K=entropy_K.clip(0, 1),
        instability=_instability(strip.confusions for strip in strips),
    )


def _predict_strip(views: Views, probs_of: Callable[[View], Floats]) -> _Strip:
    teacher_KHW = probs_of(views.members[0])
    members = Members()
    members.add(teacher_KHW)
    for view in views.members[1:]:
        members.add(probs_of(view))
    mean_KHW = members.mean
    scores = {
        "entropy": members.entropy,
        "margin": margin(mean_KHW),
        "least_confidence": least_confidence(mean_KHW),
    }
    if members.count > 1:
        scores["bald"] = members.bald
    if views.student is not None:
        scores["disagreement"] = disagreement(teacher_KHW, probs_of(views.student))
    classes_HW = teacher_KHW.argmax(axis=0)
    return _Strip(
        classes_HW=mean_KHW.argmax(axis=0).astype(np.uint8),
        scores=scores,
        entropy_K=(mean_KHW * scores["entropy"]).sum(axis=(1, 2), dtype=np.float64),
        confusions=[
            confusion_matrix(
                torch.from_numpy(probs_of(view).argmax(axis=0)),
                torch.from_numpy(classes_HW),
                len(teacher_KHW),
            )
            for view in views.snapshots
        ],
    )


def _instability(confusions: Iterable[list[Tensor]]) -> float | None:
    """From counts by strip and snapshot."""
    totals = [torch.stack(parts).sum(dim=0) for parts in zip(*confusions, strict=True)]
    agreed = [agreement(confusion_KK) or 0.0 for confusion_KK in totals]
    return 1 - sum(agreed) / len(agreed) if agreed else None
