"""AdvSemiSeg (Hung et al. 2018): a discriminator of pixels, and learning from what it believes.

B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.params import Share
from pipeline.methods.shared.adversarial import (
    LEAK,
    Adversarial,
    AdversaryOptions,
    frozen,
    halving_layers,
    judged,
    one_hot,
)
from pipeline.methods.shared.losses import likeliest, reliable_cross_entropy, share
from pipeline.methods.shared.protocol import Batch, Losses, MethodSetup, Unlabelled
from pipeline.types import IGNORE


class Options(AdversaryOptions):
    """method.options of adv_semi_seg."""

    labelled_weight: Annotated[float, Field(ge=0)] = 0.01
    """lambda_adv, of fooling it on labelled images."""
    unlabelled_weight: Annotated[float, Field(ge=0)] = 0.001
    """lambda_adv, of fooling it on unlabelled images."""
    self_training_weight: Annotated[float, Field(ge=0)] = 0.1
    """lambda_semi, of the student's own labels."""
    self_training_start: Share = 0.25
    """Share of the steps before its own labels teach: the discriminator must know something."""
    trust_threshold: Share = 0.2
    """T_semi: a pixel is reliable when the discriminator gives its being real more than this."""


class PixelDiscriminator(nn.Module):
    """maps_BKHW to logits_BHW: how much each pixel looks like one of a mask (section 3.2)."""

    def __init__(self, num_classes: int, channels: int) -> None:
        """Five convolutions."""
        super().__init__()
        widths = [num_classes, *(channels * 2**depth for depth in range(4)), 1]
        *hidden, last = halving_layers(widths)
        rectified = [part for layer in hidden for part in (layer, nn.LeakyReLU(LEAK))]
        self.layers = nn.Sequential(*rectified, last)

    def forward(self, maps_BKHW: Tensor) -> Tensor:
        """Logits at the maps' size."""
        size = maps_BKHW.shape[-2:]
        coarse = self.layers(maps_BKHW)
        return F.interpolate(coarse, size, mode="bilinear", align_corners=False)[:, 0]


class AdvSemiSeg(Adversarial):
    """L = CE(student(x), y) + lambda(t) (fooling the discriminator + CE on pixels it believes).

    The discriminator learns to tell the student's maps of labelled images from their masks.
    """

    options_type = Options
    options: Options

    def __init__(self, setup: MethodSetup) -> None:
        """The student as it is, and a discriminator."""
        super().__init__(setup)
        channels = self.options.discriminator_channels
        self.discriminator = PixelDiscriminator(setup.num_classes, channels)

    def unsupervised(self, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The terms `adversarial`, `self_training` and `discriminator`; reliable_share."""
        options, num_labelled = self.options, len(batch.images_BCHW)
        known_BHW, valid_BHW = batch.masks_BHW != IGNORE, unlabelled.valid_BHW
        logits_BKHW = self.student(torch.cat([batch.images_BCHW, unlabelled.weak_BCHW]))
        # Where masks say nothing the student's maps say nothing either: else that would tell.
        seen_BHW = torch.cat([known_BHW, valid_BHW])
        maps_BKHW = logits_BKHW.softmax(dim=1) * seen_BHW[:, None]
        belief_BHW = frozen(self.discriminator, maps_BKHW)
        labelled, own = belief_BHW[:num_labelled], belief_BHW[num_labelled:]
        adversarial = options.labelled_weight * judged(
            labelled, True, known_BHW
        ) + options.unlabelled_weight * judged(own, True, valid_BHW)

        started = step >= options.self_training_start * self.setup.num_steps
        reliable_BHW = (own.detach().sigmoid() > options.trust_threshold) & started
        own_BKHW = logits_BKHW[num_labelled:]
        pseudo_BHW = likeliest(own_BKHW.detach())
        taught = reliable_cross_entropy(own_BKHW, pseudo_BHW, reliable_BHW, valid_BHW)
        terms = {
            "adversarial": adversarial,
            "self_training": options.self_training_weight * taught,
            "discriminator": self._told_apart(maps_BKHW[:num_labelled].detach(), batch.masks_BHW),
        }
        return Losses(terms, {"reliable_share": share(reliable_BHW, valid_BHW)})

    def _told_apart(self, maps_BKHW: Tensor, masks_BHW: Tensor) -> Tensor:
        """The discriminator's own loss: maps are 0, masks are 1 (eq. 1)."""
        known_BHW = masks_BHW != IGNORE
        masks_BKHW = one_hot(masks_BHW, maps_BKHW.shape[1])
        fake = judged(self.discriminator(maps_BKHW), False, known_BHW)
        return (fake + judged(self.discriminator(masks_BKHW), True, known_BHW)) / 2
