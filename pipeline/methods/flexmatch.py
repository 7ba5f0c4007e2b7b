"""FlexMatch's curriculum of thresholds (Zhang et al. 2021), with counts of pixels.

B images, K classes, N images of the whole unlabelled set, H height, W width.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from pipeline.methods.fixmatch import PixelPrediction
from pipeline.methods.shared.class_thresholds import AdaptiveFixMatch
from pipeline.methods.shared.protocol import MethodSetup, Unlabelled


class FlexMatch(AdaptiveFixMatch):
    """FixMatch with tau(c) = tau b / (2 - b), b(c) = sigma(c) / max(max sigma, N - sum sigma).

    sigma(c): how many pixels were predicted as c with q >= tau when their image was last seen, the
    pixels of an image counting 1 in all. N - sum sigma: those unused so far, the warm-up.
    """

    def __init__(self, setup: MethodSetup) -> None:
        """No image has been seen yet."""
        super().__init__(setup)
        self.register_buffer("used_NK", torch.zeros(len(setup.unlabelled), setup.num_classes))

    def pixel_weights(self, predicted: PixelPrediction, unlabelled: Unlabelled) -> Tensor:
        """By the thresholds of before these pixels, as in algorithm 1."""
        weights_BHW = self.weigh(predicted.confidence_BHW, predicted.pseudo_BHW)
        if self.training:
            self.observe(predicted, unlabelled)
        return weights_BHW

    @torch.no_grad()
    def observe(self, predicted: PixelPrediction, unlabelled: Unlabelled) -> None:
        """Take in the images that have a valid pixel; what they counted before is forgotten."""
        valid_BHW, used_NK = unlabelled.valid_BHW, cast(Tensor, self.used_NK)
        reliable_BHW = predicted.confidence_BHW >= self.params.confidence_threshold
        classes_BHW = predicted.pseudo_BHW.where(reliable_BHW & valid_BHW, -1)
        classes_K = torch.arange(self.setup.num_classes, device=classes_BHW.device)
        count_BK = (classes_BHW[..., None] == classes_K).sum(dim=(1, 2))
        num_valid_B1 = valid_BHW.sum(dim=(1, 2))[:, None]
        share_BK = count_BK / num_valid_B1.clamp(min=1)
        index_B = unlabelled.index_B
        used_NK[index_B] = torch.where(num_valid_B1 > 0, share_BK, used_NK[index_B])

    def paper_thresholds_K(self) -> Tensor:
        """Eq. 5, 6 and 11 with the convex mapping, eq. 12."""
        effects_K = cast(Tensor, self.used_NK).sum(dim=0)
        unused = len(self.setup.unlabelled) - effects_K.sum()
        status_K = effects_K / effects_K.max().maximum(unused)
        return self.params.confidence_threshold * status_K / (2.0 - status_K)
