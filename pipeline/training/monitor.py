"""Looks at the kept network on a few val images while it is trained, and a guard against collapse.

Nothing of it gives a gradient. Of each image it sees the middle, one crop, at the networks' scale,
so that the mIoU differs from the one of stage evaluate. K classes, H height, W width.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config.params import Params
from pipeline.data.augment import middle_view, normalise
from pipeline.data.dataset import ImageStore
from pipeline.metrics.iou import confusion_matrix, iou_per_class, mean_iou
from pipeline.records.manifest import Sample
from pipeline.training.curves import CURVE_POINTS
from pipeline.types import IGNORE

MAX_IMAGES = 16  # a look at them costs about as much as one step
DECIMALS = 4
FALL = 0.03  # below the best so far; less than that is noise on 16 images
PATIENCE = 3  # looks in a row

Point = dict[str, Any]
"""One look: `step` (done by then), `miou`, and by class index `precision` and `coverage`; None
where nothing is measurable."""


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """What was seen so far, and how to see more."""

    store: ImageStore
    params: Params
    samples: Sequence[Sample]
    """Val images with their masks; without any nothing is ever due."""
    device: torch.device
    points: list[Point]
    """In the order of steps; grows."""
    _seconds: list[float] = field(default_factory=list)

    def due(self, done: int) -> bool:
        """Whether to look after `done` steps: at every share of them and after the last."""
        train = self.params.train
        if not self.samples or not train.monitor_share:
            return False
        every = max(1, round(train.monitor_share * train.steps))
        return done % every == 0 or done == train.steps

    def look(self, network: nn.Module, done: int) -> Point:
        """How `network` does; its modes and the random numbers are left as they were."""
        started = time.monotonic()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), _evaluating(network), torch.no_grad():
            all_KK, reliable_KK = self._count(network)
        self._seconds.append(time.monotonic() - started)
        miou = mean_iou(iou_per_class(all_KK))
        return {
            "step": done,
            "miou": None if miou is None else round(miou, DECIMALS),
            "precision": _shares(reliable_KK.diagonal(), reliable_KK.sum(0)),
            "coverage": _shares(reliable_KK.sum(1), all_KK.sum(1)),
        }

    @property
    def seconds(self) -> float:
        """Time that looking took in this process."""
        return sum(self._seconds)

    def _count(self, network: nn.Module) -> tuple[Tensor, Tensor]:
        """Confusion of all labelled pixels, and of those with a reliable pseudo-label."""
        num_classes = self.params.num_classes
        all_KK = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        reliable_KK = all_KK.clone()
        batch = self.params.train.batch_unlabelled
        for first in range(0, len(self.samples), batch):
            group = self.samples[first : first + batch]
            size = self.store.crop_size
            images = torch.stack([middle_view(self.store.image(s), size) for s in group])
            images = images.to(self.device)
            logits_BKHW = network(normalise(images, self.params.model.normalisation)).float()
            confidence_BHW, predicted_BHW = logits_BKHW.softmax(dim=1).max(dim=1)
            masks_BHW = torch.stack(
                [middle_view(self.store.mask(s), size, fill=IGNORE) for s in group]
            ).to(self.device)
            sure_BHW = confidence_BHW >= self.params.method.confidence_threshold
            all_KK += confusion_matrix(predicted_BHW, masks_BHW, num_classes).cpu()
            reliable_KK += confusion_matrix(
                predicted_BHW[sure_BHW], masks_BHW[sure_BHW], num_classes
            ).cpu()
        return all_KK, reliable_KK


class Guard:
    """Watches the kept network's mIoU: wrong pseudo-labels teach more of their kind.

    `events` says when it acted and the consistency weight from then on. It decides from the points
    alone, so that reading those of a checkpoint again puts it where it was.
    """

    def __init__(self, consistency_weight: float, points: Sequence[Point] = ()) -> None:
        """`points` of an earlier part of the same training; a weight of 0 is never guarded."""
        self.events: list[dict[str, float]] = []
        self.best = 0.0
        self._weight = consistency_weight
        self._num_below = 0
        for point in points:
            self.trips(point)

    def trips(self, point: Point) -> bool:
        """Whether the training collapses by this newest look; it is then noted as an event."""
        miou = point["miou"]
        if miou is None or self._weight == 0:
            return False
        self.best = max(self.best, miou)
        self._num_below = self._num_below + 1 if miou < self.best - FALL else 0
        if self._num_below < PATIENCE:
            return False
        # The best stays what it was: three more looks below it, and the weight is halved again.
        self._num_below = 0
        self._weight /= 2
        self.events.append({"step": point["step"], "weight": self._weight})
        return True


def spread(samples: Sequence[Sample], limit: int = MAX_IMAGES) -> tuple[Sample, ...]:
    """At most `limit` samples, shared out evenly over domains and evenly spaced within each."""
    domains = dict.fromkeys(sample.domain for sample in samples)
    groups = [[s for s in samples if s.domain == domain] for domain in domains]
    chosen: list[Sample] = []
    left = limit
    # The smallest first: what they cannot fill goes to the others.
    for place, group in enumerate(sorted(groups, key=len)):
        count = min(len(group), left // (len(groups) - place))
        chosen += [group[number * len(group) // count] for number in range(count)]
        left -= count
    return tuple(chosen)


def named_points(points: Sequence[Point], class_names: Sequence[str]) -> list[Point]:
    """For the metrics file: classes by name, at most as many points as a curve has, the last kept.

    A class without anything measurable is left out.
    """
    stretch = -(-len(points) // CURVE_POINTS) or 1
    found = []
    for point in points[::-1][::stretch][::-1]:
        named = {
            key: {
                name: value
                for name, value in zip(class_names, point[key], strict=True)
                if value is not None
            }
            for key in ("precision", "coverage")
        }
        found.append({**point, **named})
    return found


def _shares(part_K: Tensor, whole_K: Tensor) -> list[float | None]:
    return [
        round(part / whole, DECIMALS) if whole else None
        for part, whole in zip(part_K.tolist(), whole_K.tolist(), strict=True)
    ]


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Eval mode, then each module's own again: batch norms may be frozen one by one."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
