"""Self-training in phases: the network of the last phase labels, the student of this one learns.

The papers write the labels of whole images to disk. Here the last phase's network is kept, frozen,
and labels the weak views as they come: the same labels for the same pixels, without files and with
their augmentation. B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.methods.shared.base import SemiSupervised
from pipeline.methods.shared.ema_teacher import Teacher
from pipeline.methods.shared.losses import cross_entropy, likeliest, share
from pipeline.methods.shared.protocol import Batch, Losses, MethodSetup, Unlabelled, phase_length
from pipeline.types import IGNORE


class SelfTraining(SemiSupervised):
    """L = CE(student(x), y) + lambda(t) CE(student(strong u), labels(labeller(weak u))).

    The first phase learns from labelled images alone. Each mean is over the pixels that have a
    label, as in the authors' codes. Without unlabelled images or weight there is one phase.
    """

    def __init__(self, setup: MethodSetup) -> None:
        """A labeller, which the end of the first phase fills."""
        super().__init__(setup)
        self.labeller = Teacher(self.student, decay=0.0)
        if setup.params.consistency_weight > 0 and len(setup.unlabelled) > 0:
            self.num_phases = self.planned_phases()
        self.phase_length = phase_length(setup.num_steps, self.num_phases)

    def unsupervised(self, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The term `consistency`; reliable_share, the share of pixels with a label."""
        if step < self.phase_length:
            # Not even the batch norms may see an unlabelled image yet.
            nothing = next(self.student.parameters()).square().sum() * 0.0
            return Losses({"consistency": nothing}, {"reliable_share": nothing.detach()})
        probs_BKHW = self.label_logits(unlabelled).softmax(dim=1)
        labels_BHW = self.labels(probs_BKHW, unlabelled)
        mix = self.mix(unlabelled, likeliest(probs_BKHW))
        valid_BHW = mix.valid(unlabelled.valid_BHW)
        labels_BHW = torch.where(valid_BHW, mix.moved(labels_BHW), IGNORE)
        images_BCHW = mix.images(unlabelled.strong[0].images_BCHW)
        logits_BKHW = self.perturbed(self.student, images_BCHW, probs_BKHW, mix)
        loss = cross_entropy(logits_BKHW, labels_BHW)
        reliable_share = share(labels_BHW != IGNORE, valid_BHW)
        return Losses({"consistency": loss}, {"reliable_share": reliable_share})

    def after_step(self, step: int) -> None:
        """At the end of a phase that is followed by another: the student becomes the labeller."""
        done = step + 1
        if done % self.phase_length == 0 and done < self.setup.num_steps:
            self.labeller.update(self.student, step=0)  # a plain copy
            self.prepare_phase(done // self.phase_length)

    def planned_phases(self) -> int:
        """How many, where there is something unlabelled to learn from."""
        raise NotImplementedError

    def label_logits(self, unlabelled: Unlabelled) -> Tensor:
        """Who labels: logits_BKHW of the weak view."""
        return self.labeller(unlabelled.weak_BCHW)

    def labels(self, probs_BKHW: Tensor, unlabelled: Unlabelled) -> Tensor:
        """The weak view's labels_BHW by the labeller's probabilities, IGNORE where none."""
        raise NotImplementedError

    def prepare_phase(self, phase: int) -> None:
        """Before phase number 1, 2, ...: look at the whole unlabelled set with the labeller."""
        raise NotImplementedError
