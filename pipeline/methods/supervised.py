"""Labels alone, with the same strong augmentation and steps as the others: the honest baseline."""

from __future__ import annotations

from pipeline.methods.shared.base import SemiSupervised
from pipeline.methods.shared.protocol import Batch, Losses, Unlabelled


class Supervised(SemiSupervised):
    """L = CE(student(x), y)."""

    num_strong_views = 0

    def unsupervised(self, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """Nothing, whatever is there."""
        return Losses({}, {})
