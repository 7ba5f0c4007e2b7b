"""Mean Teacher for segmentation (Tarvainen & Valpola 2017): the classic consistency loss."""

from __future__ import annotations

from torch import nn

from pipeline.methods.losses import labelled_loss, probs_distance, ramp_up
from pipeline.methods.protocol import Batch, Losses, MethodSetup
from pipeline.methods.teacher import Teacher


class MeanTeacher(nn.Module):
    """L = CE(student(x), y) + lambda(t) mean (softmax student(strong u) - softmax teacher(u))^2."""

    num_strong_views = 1
    cutmix = False

    def __init__(self, setup: MethodSetup) -> None:
        """A student and its average."""
        super().__init__()
        self.weight = setup.params.consistency_weight
        self.num_ramp_steps = setup.params.rampup_share * setup.num_steps
        self.student = setup.new_network(0)
        self.teacher = Teacher(self.student, setup.params.ema_decay)

    def forward(self, batch: Batch, step: int) -> Losses:
        """The terms `supervised` and, with unlabelled images, `consistency`."""
        supervised = labelled_loss(self.student, batch.images_BCHW, batch.masks_BHW)
        if batch.unlabelled is None or self.weight == 0:
            return Losses({"supervised": supervised}, {})
        view = batch.unlabelled.strong[0]
        target = view.mixed(self.teacher(batch.unlabelled.weak_BCHW).softmax(dim=1))
        probs = self.student(view.images_BCHW).softmax(dim=1)
        distance = probs_distance(probs, target, view.mixed(batch.unlabelled.valid_BHW))
        weight = self.weight * ramp_up(step, self.num_ramp_steps)
        return Losses({"supervised": supervised, "consistency": weight * distance}, {})

    def after_step(self, step: int) -> None:
        """The teacher follows."""
        self.teacher.update(self.student, step)

    def result(self) -> nn.Module:
        """The teacher."""
        return self.teacher.network
