"""s4GAN (Mittal et al. 2019): a discriminator of images with their maps, and feature matching.

B images, C channels, K classes, H height, W width, D features of the discriminator.
"""

from __future__ import annotations

from typing import Annotated

import torch
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
    """method.options of s4gan."""

    matching_weight: Annotated[float, Field(ge=0)] = 0.1
    """lambda_fm, of feature matching."""
    self_training_weight: Annotated[float, Field(ge=0)] = 1.0
    """lambda_st, of the student's own labels."""
    trust_threshold: Share = 0.6
    """gamma: an image teaches when the discriminator gives more than this for its being real."""


class ImageDiscriminator(nn.Module):
    """Maps and images, B(K+3)HW, to D features and a logit of each: B(D+1) (section 3.1)."""

    def __init__(self, num_classes: int, channels: int) -> None:
        """Four convolutions, dropout behind the first three, the mean over places, a linear layer.

        Dropout behind the fourth would keep the features that are to be matched apart.
        """
        super().__init__()
        widths = [num_classes + 3, *(channels * 2**depth for depth in range(4))]
        *first, last = halving_layers(widths)
        parts = [part for layer in first for part in (layer, nn.LeakyReLU(LEAK), nn.Dropout2d(0.5))]
        self.layers = nn.Sequential(*parts, last, nn.LeakyReLU(LEAK))
        self.last = nn.Linear(widths[-1], 1)

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        """Features, then the logit, of each image."""
        features_BD = self.layers(inputs_BCHW).mean(dim=(2, 3))
        return torch.cat([features_BD, self.last(features_BD)], dim=1)


class S4GAN(Adversarial):
    """L = CE(student(x), y) + lambda(t) (feature matching + CE on images it believes).

    The discriminator learns to tell the student's maps of unlabelled images from masks, each
    beside its image.
    """

    options_type = Options
    options: Options

    def __init__(self, setup: MethodSetup) -> None:
        """The student as it is, and a discriminator."""
        super().__init__(setup)
        channels = self.options.discriminator_channels
        self.discriminator = ImageDiscriminator(setup.num_classes, channels)

    def unsupervised(self, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The terms `matching`, `self_training` and `discriminator`; reliable_share."""
        valid_BHW, known_BHW = unlabelled.valid_BHW, batch.masks_BHW != IGNORE
        place_B = torch.arange(len(valid_BHW)) % len(known_BHW)
        # Holes of a mask are cut into a map too: else they would tell which is which.
        seen_BHW = valid_BHW & known_BHW[place_B]
        logits_BKHW = self.student(unlabelled.weak_BCHW)
        maps_BKHW = logits_BKHW.softmax(dim=1) * seen_BHW[:, None]
        fake = torch.cat([maps_BKHW, stretched(unlabelled.weak_BCHW)], dim=1)
        masks_BKHW = one_hot(batch.masks_BHW, maps_BKHW.shape[1])
        real = torch.cat([masks_BKHW, stretched(batch.images_BCHW)], dim=1)
        is_real_B, is_fake_B = (where.any(dim=2).any(dim=1) for where in (known_BHW, seen_BHW))

        found_BD = frozen(self.discriminator, fake)
        with torch.no_grad():
            wanted_BD = self.discriminator(real)
        matching = distance_of_means(found_BD[:, :-1], is_fake_B, wanted_BD[:, :-1], is_real_B)
        believed_B = found_BD[:, -1].detach().sigmoid() > self.options.trust_threshold
        reliable_BHW = (believed_B & is_fake_B)[:, None, None].expand_as(valid_BHW)
        pseudo_BHW = likeliest(logits_BKHW.detach())
        taught = reliable_cross_entropy(logits_BKHW, pseudo_BHW, reliable_BHW, valid_BHW)
        told = judged(self.discriminator(fake.detach())[:, -1], False, is_fake_B)
        told = told + judged(self.discriminator(real)[:, -1], True, is_real_B)
        terms = {
            "matching": self.options.matching_weight * matching,
            "self_training": self.options.self_training_weight * taught,
            "discriminator": told / 2,
        }
        return Losses(terms, {"reliable_share": share(reliable_BHW, valid_BHW)})


def stretched(images_BCHW: Tensor) -> Tensor:
    """Each image between 0 and 1 by its own least and largest value; all 0 if they are one."""
    sides = (1, 2, 3)
    low, high = images_BCHW.amin(sides, keepdim=True), images_BCHW.amax(sides, keepdim=True)
    return (images_BCHW - low) / (high - low).clamp(min=1e-8)


def distance_of_means(
    one_BD: Tensor, counted_B: Tensor, other_BD: Tensor, other_counted_B: Tensor
) -> Tensor:
    """Mean over features of |mean of one - mean of other| over what is counted (eq. 4).

    0 where either has nothing.
    """
    both = counted_B.any() & other_counted_B.any()
    means = [
        (values_BD * where_B[:, None]).sum(dim=0) / where_B.sum().clamp(min=1)
        for values_BD, where_B in ((one_BD, counted_B), (other_BD, other_counted_B))
    ]
    return ((means[0] - means[1]) * both).abs().mean()
