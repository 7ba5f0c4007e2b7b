"""Soft Teacher's reliability weights (Xu et al. 2021), carried over from boxes to pixels.

B images, K classes, H height, W width, N = B * H * W pixels.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from pipeline.config.block import Block
from pipeline.config.params import Share
from pipeline.methods.fixmatch import FixMatch
from pipeline.methods.shared.class_thresholds import class_means, class_members


class SoftTeacherOptions(Block):
    """How much a doubtful pixel teaches."""

    gamma: Annotated[float, Field(ge=0)] = 1.0
    """Exponent of the confidence; 0 = every pixel alike."""
    cut: Share = 0.0
    """Pixels of a lower confidence teach nothing."""


class SoftTeacher(FixMatch):
    """FixMatch with weights q^gamma / mean of q^gamma over the batch's pixels of the same class.

    No class weighs less because the teacher is less sure of all of it.
    """

    options_type = SoftTeacherOptions
    options: SoftTeacherOptions

    def pixel_weights(
        self, confidence_BHW: Tensor, pseudo_BHW: Tensor, valid_BHW: Tensor
    ) -> Tensor:
        """In [0, #pixels of the class], of mean 1 in every class that has a pixel over the cut."""
        kept_BHW = confidence_BHW >= self.options.cut
        weights_BHW = confidence_BHW.pow(self.options.gamma) * kept_BHW
        members_KN = class_members(pseudo_BHW, valid_BHW, self.setup.num_classes)
        mean_K, _ = class_means(weights_BHW, members_KN)
        # A mean of 0 has weights of 0 above it, and padding is left out of the loss anyway.
        return weights_BHW / mean_K.clamp(min=1e-6)[pseudo_BHW]
