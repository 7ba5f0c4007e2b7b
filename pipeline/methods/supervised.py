"""Labels alone, with the same strong augmentation and steps as the others: the honest baseline."""

from __future__ import annotations

from torch import nn

from pipeline.methods.losses import labelled_loss
from pipeline.methods.protocol import Batch, Losses, MethodSetup


class Supervised(nn.Module):
    """L = CE(student(x), y)."""

    num_strong_views = 0
    cutmix = False

    def __init__(self, setup: MethodSetup) -> None:
        """One network."""
        super().__init__()
        self.student = setup.new_network(0)

    def forward(self, batch: Batch, step: int) -> Losses:
        """The term `supervised`."""
        loss = labelled_loss(self.student, batch.images_BCHW, batch.masks_BHW)
        return Losses({"supervised": loss}, {})

    def after_step(self, step: int) -> None:
        """Nothing to move."""

    def result(self) -> nn.Module:
        """The student as the last step left it."""
        return self.student
