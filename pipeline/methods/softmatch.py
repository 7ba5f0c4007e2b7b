"""SoftMatch's truncated Gaussian weights instead of a threshold (Chen et al. 2023).

B images, K classes, H height, W width, N = B * H * W pixels.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from pipeline.methods.shared.class_thresholds import AdaptiveFixMatch, AdaptiveOptions, class_means
from pipeline.methods.shared.protocol import MethodSetup

MIN_VARIANCE = 1e-6  # a class of one pixel, or of equal ones, has none to divide by


class SoftMatchOptions(AdaptiveOptions):
    """How weights follow."""

    num_sigma: Annotated[float, Field(gt=0)] = 2.0
    """n: the Gaussian is as narrow as sigma / n."""
    per_class: bool = True
    """A mean and a variance per class; false = one of each for all pixels, as in the paper."""


class SoftMatch(AdaptiveFixMatch):
    """FixMatch with weights exp(-min(q - mu, 0)^2 / (2 var / n^2)); mu, var: running, of q."""

    options_type = SoftMatchOptions
    options: SoftMatchOptions

    def __init__(self, setup: MethodSetup) -> None:
        """mu starts at 1/K and var at 1 (section 3.2)."""
        super().__init__(setup)
        num_classes = setup.num_classes
        self.means = self.running_means(num_classes, 1.0 / num_classes)
        self.variances = self.running_means(num_classes, 1.0)

    def observe(self, confidence_BHW: Tensor, members_KN: Tensor) -> None:
        """Move means and variances."""
        if not self.options.per_class:
            members_KN = members_KN.any(dim=0).expand_as(members_KN)
        mean_K, count_K = class_means(confidence_BHW, members_KN)
        squares_KN = (confidence_BHW.flatten() - mean_K[:, None]).square()
        total_K = torch.where(members_KN, squares_KN, 0.0).sum(dim=1)
        self.means.update(mean_K, count_K > 0)
        self.variances.update(total_K / (count_K - 1).clamp(min=1), count_K > 1)

    def paper_thresholds_K(self) -> Tensor:
        """mu of each class: from here on a pixel weighs 1."""
        return self.means.values_N

    def weigh(self, confidence_BHW: Tensor, pseudo_BHW: Tensor) -> Tensor:
        """In (0, 1], eq. 5; 1 from the class's mean on."""
        below_BHW = (confidence_BHW - self.thresholds_K()[pseudo_BHW]).clamp(max=0.0)
        widths_K = self.variances.values_N.clamp(min=MIN_VARIANCE) / self.options.num_sigma**2
        return torch.exp(-below_BHW.square() / (2.0 * widths_K[pseudo_BHW]))
