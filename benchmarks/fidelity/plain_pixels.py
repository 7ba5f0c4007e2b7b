"""Second writings of what is learnt from unlabelled pixels: one pixel after the other, in floats.

K classes; probabilities and logits of a pixel are lists of K.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from pipeline.methods import StrongView, Unlabelled

Weigh = Callable[[list[float]], float]
"""What a pixel weighs, by the teacher's probabilities."""


class MixedPlace(NamedTuple):
    """A pixel of the mixed batch, and the image that it comes from."""

    image: int
    y: int
    x: int
    source: int


def softmax(logits_K: list[float]) -> list[float]:
    """Probabilities."""
    powers = [math.exp(value - max(logits_K)) for value in logits_K]
    return [power / sum(powers) for power in powers]


def argmax(values: list[float]) -> int:
    """The first of the largest."""
    return values.index(max(values))


def pixel(maps_BKHW: Tensor, image: int, y: int, x: int) -> list[float]:
    """The K values of one pixel."""
    return [float(value) for value in maps_BKHW[image, :, y, x].tolist()]


def places(view: StrongView, valid_BHW: Tensor) -> Iterator[MixedPlace]:
    """Pixels of the images after CutMix with the image before, where there is an image at all."""
    batch, height, width = valid_BHW.shape
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                source = (b - 1) % batch if view.boxes_BHW[b, y, x] else b
                if valid_BHW[source, y, x]:
                    yield MixedPlace(b, y, x, source)


def cutmix(view: StrongView) -> Tensor:
    """The strong views with a box of the image before each."""
    mixed_BCHW = view.images_BCHW.clone()
    for b in range(len(mixed_BCHW)):
        box_HW = view.boxes_BHW[b]
        mixed_BCHW[b, :, box_HW] = view.images_BCHW[b - 1][:, box_HW]
    return mixed_BCHW


class WeighedLoss(NamedTuple):
    """Cross-entropies of the mixed pixels with the teacher's classes, before any division."""

    total: float
    weight: float
    num_valid: int


def weighed_loss(
    seen: Unlabelled, target_BKHW: Tensor, logits_BKHW: Tensor, weigh: Weigh
) -> WeighedLoss:
    """Sum of w CE, sum of w, and how many pixels there are."""
    (view,), total, weight, num_valid = seen.strong, 0.0, 0.0, 0
    for place in places(view, seen.valid_BHW):
        probs_K = softmax(pixel(target_BKHW, place.source, place.y, place.x))
        learnt_K = softmax(pixel(logits_BKHW, place.image, place.y, place.x))
        own = weigh(probs_K)
        total -= own * math.log(learnt_K[argmax(probs_K)])
        weight += own
        num_valid += 1
    return WeighedLoss(total, weight, num_valid)


def above(threshold: float) -> Weigh:
    """1 from a confidence on."""
    return lambda probs_K: float(max(probs_K) >= threshold)


def soft_teacher(background: int, threshold: float) -> Weigh:
    """The background's probability where it is likeliest; elsewhere 1 from a confidence on."""

    def weigh(probs_K: list[float]) -> float:
        if argmax(probs_K) == background:
            return probs_K[background]
        return 1.0 if max(probs_K) >= threshold else 0.0

    return weigh
