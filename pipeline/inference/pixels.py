"""What the teacher and its members say about every pixel of one image, strip by strip.

Only a strip's probabilities are ever there, so that memory grows with neither the classes nor the
members of a large image; of that, too, only the classes are all in memory. K classes, R rows of a
strip, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.inference.strips import strips_of
from pipeline.inference.tiles import Band, View
from pipeline.metrics.iou import agreement, confusion_matrix
from pipeline.records.regions import Box
from pipeline.uncertainty.ensemble import Members, disagreement
from pipeline.uncertainty.pixel_values import PixelValues
from pipeline.uncertainty.scores import Floats, of_the_largest


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
    """What is said about one image, or about a region of one."""

    classes_HW: NDArray[np.uint8]
    """The likeliest."""
    scores: dict[str, PixelValues]
    """HxW in [0, 1] by name: entropy, margin, least_confidence; with members bald; with a student
    disagreement, between teacher and student."""
    entropy_K: NDArray[np.float64]
    """Mean over the pixels of entropy times each class's probability; sums up to the mean entropy
    (the class-stratified entropy of ClaSP PE, 2026)."""
    instability: float | None
    """1 - mean IoU of the earlier teachers' classes with the teacher's, their mean (the opposite of
    ST++'s reliability); None without them."""


class PredictedImage(NamedTuple):
    """What is said about an image and about the boxes that were asked for."""

    whole: Prediction
    boxes: list[Prediction]


def predict_pixels(
    views: Views,
    bands: Iterable[dict[View, Band]],
    size: tuple[int, int],
    *,
    boxes: Sequence[Box] = (),
    folder: Path | None = None,
) -> PredictedImage:
    """At `size` (height, width), from the bands at which the image was seen.

    Each of the `boxes` is predicted as if it were an image; a large image's scores lie in `folder`.
    """
    everything = Box(0, 0, size[1], size[0])
    sums = [_Sums(box) for box in (everything, *boxes)]
    classes_HW = np.empty(size, dtype=np.uint8)
    scores: dict[str, PixelValues] = {}
    for rows, logits in strips_of(bands, size):
        strip = _predict_strip(views, logits)
        classes_HW[rows] = strip.classes_HW
        for name, values_HW in strip.scores.items():
            if name not in scores:
                scores[name] = PixelValues(size, folder)
            scores[name].append(values_HW)
        for each in sums:
            each.add(rows, strip)
    found = [
        Prediction(
            classes_HW=classes_HW[each.box.slices],
            scores={name: values.inside(each.box) for name, values in scores.items()},
            entropy_K=each.entropy_K,
            instability=each.instability,
        )
        for each in sums
    ]
    return PredictedImage(found[0], found[1:])


class _Strip(NamedTuple):
    """What is said about some rows."""

    mean_KHW: Floats
    classes_HW: NDArray[np.uint8]
    scores: dict[str, Floats]
    compared: list[tuple[NDArray[np.intp], NDArray[np.intp]]]
    """Classes_HW of each snapshot and of the teacher alone; none where there are no snapshots."""


def _compared(
    snapshots: list[NDArray[np.float32]], teacher_KHW: NDArray[np.float32]
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    if not snapshots:
        return []
    teacher_HW = teacher_KHW.argmax(axis=0)
    return [(each_KHW.argmax(axis=0), teacher_HW) for each_KHW in snapshots]


def _predict_strip(views: Views, logits: Mapping[View, Tensor]) -> _Strip:
    def probs_of(view: View) -> Floats:
        return logits[view].softmax(dim=0).cpu().numpy()

    teacher_KHW = probs_of(views.members[0])
    members = Members()
    members.add(teacher_KHW)
    for view in views.members[1:]:
        members.add(probs_of(view))
    mean_KHW = members.mean
    scores = {"entropy": members.entropy, **of_the_largest(mean_KHW)}
    if members.count > 1:
        scores["bald"] = members.bald
    if views.student is not None:
        scores["disagreement"] = disagreement(teacher_KHW, probs_of(views.student))
    return _Strip(
        mean_KHW=mean_KHW,
        classes_HW=mean_KHW.argmax(axis=0).astype(np.uint8),
        scores=scores,
        compared=_compared([probs_of(view) for view in views.snapshots], teacher_KHW),
    )


class _Sums:
    """What is added up over the pixels of a box."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self._entropy_K: NDArray[np.float64] | float = 0.0
        self._confusions: list[Tensor] = []

    def add(self, rows: slice, strip: _Strip) -> None:
        top = max(rows.start, self.box.y)
        bottom = min(rows.stop, self.box.y + self.box.height)
        if top >= bottom:
            return
        inside = (slice(top - rows.start, bottom - rows.start), self.box.slices[1])
        mean_KHW, entropy_HW = strip.mean_KHW[:, *inside], strip.scores["entropy"][inside]
        self._entropy_K += (mean_KHW * entropy_HW).sum(axis=(1, 2), dtype=np.float64)
        classes = len(mean_KHW)
        found = [
            confusion_matrix(
                torch.from_numpy(one_HW[inside]), torch.from_numpy(teacher_HW[inside]), classes
            )
            for one_HW, teacher_HW in strip.compared
        ]
        before = self._confusions or [torch.zeros_like(each_KK) for each_KK in found]
        self._confusions = [one + other for one, other in zip(before, found, strict=True)]

    @property
    def entropy_K(self) -> NDArray[np.float64]:
        return np.clip(self._entropy_K / self.box.num_pixels, 0, 1)

    @property
    def instability(self) -> float | None:
        agreed = [agreement(confusion_KK) or 0.0 for confusion_KK in self._confusions]
        return 1 - sum(agreed) / len(agreed) if agreed else None
