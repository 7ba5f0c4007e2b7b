"""FixMatch for segmentation with a Mean Teacher and CutMix (Sohn et al. 2020; Yang et al. 2023).

The averaged teacher labels the weak view; the student learns the reliable ones of these
pseudo-labels on the strong view.
"""

from __future__ import annotations

from torch import nn

from pipeline.methods.losses import labelled_loss, ramp_up, reliable_cross_entropy, share
from pipeline.methods.protocol import Batch, Losses, MethodSetup
from pipeline.methods.teacher import Teacher


class FixMatch(nn.Module):
    """L = CE(student(x), y) + lambda(t) sum [q >= tau] CE(student(strong u), yhat) / #valid.

    q and yhat: largest probability and class of teacher(weak u), moved with CutMix's boxes.
    """

    num_strong_views = 1
    cutmix = True

    def __init__(self, setup: MethodSetup) -> None:
        """A student and its average."""
        super().__init__()
        self.params = setup.params
        self.num_ramp_steps = setup.params.rampup_share * setup.num_steps
        self.student = setup.new_network(0)
        self.teacher = Teacher(self.student, setup.params.ema_decay)

    def forward(self, batch: Batch, step: int) -> Losses:
        """The terms `supervised` and, with unlabelled images, `consistency`; reliable_share."""
        # Two passes, not one over all images: where no pixel is reliable, the batch norms of the
        # labelled pass see exactly what they see in `supervised`.
        supervised = labelled_loss(self.student, batch.images_BCHW, batch.masks_BHW)
        if batch.unlabelled is None or self.params.consistency_weight == 0:
            return Losses({"supervised": supervised}, {})
        weak, valid_BHW, (view,) = batch.unlabelled
        confidence_BHW, pseudo_BHW = self.teacher(weak).softmax(dim=1).max(dim=1)
        confidence_BHW, pseudo_BHW, valid_BHW = map(
            view.mixed, (confidence_BHW, pseudo_BHW, valid_BHW)
        )
        reliable_BHW = confidence_BHW >= self.params.confidence_threshold
        logits = self.student(view.images_BCHW)
        unsupervised = reliable_cross_entropy(logits, pseudo_BHW, reliable_BHW, valid_BHW)
        weight = self.params.consistency_weight * ramp_up(step, self.num_ramp_steps)
        return Losses(
            {"supervised": supervised, "consistency": weight * unsupervised},
            {"reliable_share": share(reliable_BHW, valid_BHW)},
        )

    def after_step(self, step: int) -> None:
        """The teacher follows."""
        self.teacher.update(self.student, step)

    def result(self) -> nn.Module:
        """The teacher."""
        return self.teacher.network
