"""ST++: self-training from the reliable images to all (Yang et al. 2022).

B images, C channels, K classes, H height, W width, N images of the whole unlabelled set.
"""

from __future__ import annotations

import math
from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.block import Block
from pipeline.methods.shared.ema_teacher import Teacher
from pipeline.methods.shared.losses import likeliest
from pipeline.methods.shared.protocol import MethodSetup, Unlabelled
from pipeline.methods.shared.self_training import SelfTraining
from pipeline.types import IGNORE

NUM_SNAPSHOTS = 2  # at 1/3 and 2/3 of the first phase, compared with its end (section 3.3)


class STPlusPlusOptions(Block):
    """Which images come first."""

    reliable_images: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the unlabelled images that teach in the second phase, the most reliable."""


class STPlusPlus(SelfTraining):
    """Phases: labelled images; and the reliable unlabelled; and all. Each from initial weights.

    An image is as reliable as earlier networks agree with the first phase's last on it, by mean
    IoU. Draws of the others teach nothing in the second phase; in the third the reliable images
    keep the labels of the first phase's network, and the second phase's labels the others (alg. 1).
    """

    mixes = ("cutout",)
    options_type = STPlusPlusOptions
    options: STPlusPlusOptions

    def __init__(self, setup: MethodSetup) -> None:
        """No image reliable yet."""
        super().__init__(setup)
        self.snapshots = nn.ModuleList(
            Teacher(self.student, decay=0.0) for _ in range(NUM_SNAPSHOTS)
        )
        self.first_labeller = Teacher(self.student, decay=0.0)
        nothing_N = torch.zeros(len(setup.unlabelled), dtype=torch.bool)
        self.register_buffer("reliable_N", nothing_N)
        self.register_buffer("chosen_N", nothing_N.clone())

    def planned_phases(self) -> int:
        """Three."""
        return 3

    def label_logits(self, unlabelled: Unlabelled) -> Tensor:
        """Of reliable images by the first phase's network; of the others by the last phase's."""
        reliable_B = cast(Tensor, self.reliable_N)[unlabelled.index_B]
        parts = ((self.first_labeller, reliable_B), (self.labeller, ~reliable_B))
        logits_BKHW = torch.cat(
            [labeller(unlabelled.weak_BCHW[own_B]) for labeller, own_B in parts if own_B.any()]
        )
        # Reliable images came first.
        return logits_BKHW[(~reliable_B).int().argsort(stable=True).argsort()]

    def labels(self, probs_BKHW: Tensor, unlabelled: Unlabelled) -> Tensor:
        """The most probable classes of chosen images."""
        chosen_B = cast(Tensor, self.chosen_N)[unlabelled.index_B]
        return torch.where(chosen_B[:, None, None], likeliest(probs_BKHW), IGNORE)

    def after_step(self, step: int) -> None:
        """In the first phase, networks on the way are kept to compare with its last."""
        for number, snapshot in enumerate(self.snapshots, start=1):
            if step + 1 == number * self.phase_length // (NUM_SNAPSHOTS + 1):
                cast(Teacher, snapshot).update(self.student, step=0)
        super().after_step(step)

    def prepare_phase(self, phase: int) -> None:
        """Choose images, and start again from the initial weights."""
        reliable_N, chosen_N = cast(Tensor, self.reliable_N), cast(Tensor, self.chosen_N)
        if phase == 1:
            num_reliable = math.ceil(self.options.reliable_images * len(reliable_N))
            # Stable: of equally reliable images the first of the set.
            order_N = self.reliability_N().argsort(descending=True, stable=True)
            reliable_N[order_N[:num_reliable]] = True
            chosen_N.copy_(reliable_N)
            self.first_labeller.update(self.labeller.network, step=0)  # a plain copy
        else:
            chosen_N.fill_(True)
        self.student.load_state_dict(self.setup.new_network(0).state_dict())

    def reliability_N(self) -> Tensor:
        """Mean over the snapshots of the mean IoU of their classes with the labeller's (eq. 6)."""
        reliability_N = torch.zeros_like(cast(Tensor, self.chosen_N), dtype=torch.float32)
        for index_B, images_BCHW in self.setup.unlabelled.batches():
            last_BHW = likeliest(self.labeller(images_BCHW))
            for snapshot in self.snapshots:
                classes_BHW = likeliest(snapshot(images_BCHW))
                iou_B = mean_iou(classes_BHW, last_BHW, self.setup.num_classes)
                reliability_N[index_B] += iou_B / NUM_SNAPSHOTS
        return reliability_N


def mean_iou(one_BHW: Tensor, other_BHW: Tensor, num_classes: int) -> Tensor:
    """iou_B of two labellings of each image: the mean over classes that are in either."""
    classes_K111 = torch.arange(num_classes, device=one_BHW.device)[:, None, None, None]
    one_KBHW, other_KBHW = one_BHW == classes_K111, other_BHW == classes_K111
    both_KB = (one_KBHW & other_KBHW).sum(dim=(2, 3))
    either_KB = (one_KBHW | other_KBHW).sum(dim=(2, 3))
    iou_KB = both_KB / either_KB.clamp(min=1)
    return iou_KB.sum(dim=0) / (either_KB > 0).sum(dim=0)
