"""SoftMatch's truncated Gaussian weights instead of a threshold (Chen et al. 2023).

Means and variances of a class are over the pixels predicted as it, whatever their number.

B images, K classes, H height, W width, N = B * H * W pixels.
"""

from __future__ import annotations

from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.params import Share
from pipeline.methods.fixmatch import PixelPrediction
from pipeline.methods.shared.class_thresholds import (
    AdaptiveFixMatch,
    AdaptiveOptions,
    class_members,
)
from pipeline.methods.shared.protocol import MethodSetup, Unlabelled

MIN_VARIANCE = 1e-6  # a class of one pixel, or of equal ones, has none to divide by


class SoftMatchOptions(AdaptiveOptions):
    """How weights follow."""

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """a of the running means, over about 1/(1-a) steps; the paper's .999 is for a million steps."""
    floor: Share = 0.6
    """No class has a lower mean; the highest is method.confidence_threshold."""
    num_sigma: Annotated[float, Field(gt=0)] = 2.0
    """n: the Gaussian is as narrow as sigma / n."""
    per_class: bool = True
    """A mean and a variance per class; false = one of each for all pixels, as in the paper."""


class RunningMean(nn.Module):
    """Exponential moving means of N quantities, of which a step may see only some."""

    def __init__(self, num_quantities: int, start: float, decay: float) -> None:
        """`start` stands until a quantity is seen for the first time."""
        super().__init__()
        self.decay = decay
        self.register_buffer("mean_N", torch.full((num_quantities,), start))
        self.register_buffer("num_updates_N", torch.zeros(num_quantities, dtype=torch.int64))

    @property
    def values_N(self) -> Tensor:
        """The means so far."""
        return cast(Tensor, self.mean_N)

    @torch.no_grad()
    def update(self, new_N: Tensor, seen_N: Tensor) -> None:
        """m <- a m + (1 - a) new where seen, with a = min(1 - 1/n, decay) at the n-th sight."""
        num_updates_N = cast(Tensor, self.num_updates_N)
        num_updates_N += seen_N
        keep_N = (1.0 - 1.0 / num_updates_N.clamp(min=1)).clamp(max=self.decay)
        moved_N = keep_N * self.values_N + (1.0 - keep_N) * new_N
        self.values_N.copy_(torch.where(seen_N, moved_N, self.values_N))


class SoftMatch(AdaptiveFixMatch):
    """FixMatch with weights exp(-min(q - mu, 0)^2 / (2 var / n^2)); mu, var: running, of q."""

    options_type = SoftMatchOptions
    options: SoftMatchOptions

    def __init__(self, setup: MethodSetup) -> None:
        """mu starts at 1/K and var at 1 (section 3.2)."""
        super().__init__(setup)
        num_classes, decay = setup.num_classes, self.options.decay
        self.means = RunningMean(num_classes, 1.0 / num_classes, decay)
        self.variances = RunningMean(num_classes, 1.0, decay)

    def observe(self, predicted: PixelPrediction, unlabelled: Unlabelled) -> None:
        """Move means and variances."""
        confidence_BHW, num_classes = predicted.confidence_BHW, self.setup.num_classes
        members_KN = class_members(predicted.pseudo_BHW, unlabelled.valid_BHW, num_classes)
        if not self.options.per_class:
            members_KN = members_KN.any(dim=0).expand_as(members_KN)
        count_K = members_KN.sum(dim=1)
        # No matrix product: under mixed precision it would sum in half precision.
        sum_K = torch.where(members_KN, confidence_BHW.flatten().float(), 0.0).sum(dim=1)
        mean_K = sum_K / count_K.clamp(min=1)
        squares_KN = (confidence_BHW.flatten() - mean_K[:, None]).square()
        total_K = torch.where(members_KN, squares_KN, 0.0).sum(dim=1)
        self.means.update(mean_K, count_K > 0)
        self.variances.update(total_K / (count_K - 1).clamp(min=1), count_K > 1)

    def paper_thresholds_K(self) -> Tensor:
        """mu of each class: from here on a pixel weighs 1."""
        return self.means.values_N

    def thresholds_K(self) -> Tensor:
        """In [floor, confidence_threshold]; the latter wins where it is lower."""
        cap = self.params.confidence_threshold
        return self.paper_thresholds_K().clamp(min=min(self.options.floor, cap), max=cap)

    def weigh(self, confidence_BHW: Tensor, pseudo_BHW: Tensor) -> Tensor:
        """In (0, 1], eq. 5; 1 from the class's mean on."""
        below_BHW = (confidence_BHW - self.thresholds_K()[pseudo_BHW]).clamp(max=0.0)
        widths_K = self.variances.values_N.clamp(min=MIN_VARIANCE) / self.options.num_sigma**2
        return torch.exp(-below_BHW.square() / (2.0 * widths_K[pseudo_BHW]))
