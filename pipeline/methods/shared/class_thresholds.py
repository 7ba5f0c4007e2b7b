"""What methods share whose thresholds follow the teacher, one for each class.

B images, K classes, H height, W width, N = B * H * W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.config.block import Block
from pipeline.config.params import Share
from pipeline.methods.fixmatch import FixMatch, PixelPrediction
from pipeline.methods.shared.protocol import Unlabelled


class AdaptiveOptions(Block):
    """How low thresholds may fall."""

    floor: Share = 0.0
    """No class has a lower threshold."""


def class_members(classes_BHW: Tensor, counted_BHW: Tensor, num_classes: int) -> Tensor:
    """members_KN: which of the N = B * H * W pixels are counted and of class k."""
    classes_K1 = torch.arange(num_classes, device=classes_BHW.device)[:, None]
    return (classes_BHW.flatten() == classes_K1) & counted_BHW.flatten()


class AdaptiveFixMatch(FixMatch):
    """FixMatch with a threshold per class that follows the teacher's confidence."""

    options_type = AdaptiveOptions
    options: AdaptiveOptions
    perturbs_networks = False  # one memory cannot follow two teachers

    def pixel_weights(self, predicted: PixelPrediction, unlabelled: Unlabelled) -> Tensor:
        """By the thresholds, which in training have seen these pixels."""
        if self.training:
            self.observe(predicted, unlabelled)
        return self.weigh(predicted.confidence_BHW, predicted.pseudo_BHW)

    def observe(self, predicted: PixelPrediction, unlabelled: Unlabelled) -> None:
        """Move what the thresholds follow."""
        raise NotImplementedError

    def paper_thresholds_K(self) -> Tensor:
        """Before they are bounded."""
        raise NotImplementedError

    def thresholds_K(self) -> Tensor:
        """In [floor, 1]."""
        return self.paper_thresholds_K().clamp(min=self.options.floor)

    def weigh(self, confidence_BHW: Tensor, pseudo_BHW: Tensor) -> Tensor:
        """True where the confidence reaches the threshold of the class."""
        return confidence_BHW >= self.thresholds_K()[pseudo_BHW]
