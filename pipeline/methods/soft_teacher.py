"""Soft Teacher's classification loss (Xu et al. 2021), carried over from boxes to pixels.

B images, K classes, H height, W width.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from pipeline.config.block import Block
from pipeline.config.params import Share
from pipeline.errors import ConfigError
from pipeline.methods.fixmatch import FixMatch, PixelPrediction
from pipeline.methods.shared.losses import weighted_mean_cross_entropy
from pipeline.methods.shared.protocol import MethodSetup, Unlabelled


class SoftTeacherOptions(Block):
    """Which pixels teach, and how much."""

    background: Annotated[int, Field(ge=0)] = 0
    """Index of the class that stands for what is none of the others, as in params.yaml's list."""
    foreground_threshold: Share = 0.9
    """A pixel of another class teaches from this confidence on."""


class SoftTeacher(FixMatch):
    """L = CE(student(x), y) + lambda(t) sum w CE(student(strong u), yhat) / max(sum w, 1).

    w = p_background where yhat is the background, [q >= foreground_threshold] elsewhere. Sums over
    the batch's valid pixels, as in the authors' code (eq. 4).
    """

    options_type = SoftTeacherOptions
    options: SoftTeacherOptions

    def __init__(self, setup: MethodSetup) -> None:
        """ConfigError where `background` is no class."""
        super().__init__(setup)
        if self.options.background >= setup.num_classes:
            raise ConfigError(
                f"method.options of soft_teacher: background = {self.options.background}: no such "
                f"class; name the index of the background, 0 to {setup.num_classes - 1}"
            )

    def pixel_weights(self, predicted: PixelPrediction, unlabelled: Unlabelled) -> Tensor:
        """In [0, 1]."""
        trusted_BHW = predicted.confidence_BHW >= self.options.foreground_threshold
        # Where the background is the likeliest class, the confidence is its probability.
        is_background_BHW = predicted.pseudo_BHW == self.options.background
        return torch.where(is_background_BHW, predicted.confidence_BHW, trusted_BHW.float())

    def pixel_terms(
        self, logits_BKHW: Tensor, pseudo_BHW: Tensor, weights_BHW: Tensor, valid_BHW: Tensor
    ) -> dict[str, Tensor]:
        """The term `consistency`, divided by what the pixels weigh."""
        loss = weighted_mean_cross_entropy(logits_BKHW, pseudo_BHW, weights_BHW, valid_BHW)
        return {"consistency": loss}
