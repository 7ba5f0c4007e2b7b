"""A guard against collapse: wrong pseudo-labels that teach more of their kind.

It decides from the monitored mIoU alone, so that reading the points of a checkpoint again puts it
where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

FALL = 0.03  # below the best so far; less than that is noise on 16 images
PATIENCE = 3  # looks in a row


class Guard:
    """Watches the kept network's mIoU; `events` says when it acted and the weight from then on."""

    def __init__(self, consistency_weight: float, points: Sequence[dict[str, Any]] = ()) -> None:
        """`points` of an earlier part of the same training; a weight of 0 is never guarded."""
        self.events: list[dict[str, float]] = []
        self.best = 0.0
        self._weight = consistency_weight
        self._num_below = 0
        for point in points:
            self.trips(point)

    def trips(self, point: dict[str, Any]) -> bool:
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
