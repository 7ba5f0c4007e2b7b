"""What thresholds that follow the teacher share: running means over the pixels of each class.

The papers count how often a class is predicted. In a segmentation that is its area, and the
threshold of a pole (1 % of the pixels) would collapse beside a road's (30 %). Here every mean of
a class is one over the pixels predicted as it, whatever their number. B images, K classes, H
height, W width, N quantities averaged.
"""

from __future__ import annotations

from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.block import Block
from pipeline.config.params import Share
from pipeline.methods.fixmatch import FixMatch, PixelPrediction
from pipeline.methods.shared.protocol import Unlabelled


class AdaptiveOptions(Block):
    """How thresholds follow."""

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """a of the running means, over about 1/(1-a) steps; the papers' .999 is for a million steps."""
    floor: Share = 0.6
    """No class has a lower threshold; the highest is method.confidence_threshold."""


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


def class_means(values_BHW: Tensor, members_KN: Tensor) -> tuple[Tensor, Tensor]:
    """(mean_K, count_K) of values over each class's pixels; 0 for a class without one."""
    count_K = members_KN.sum(dim=1)
    # No matrix product: under mixed precision it would sum in half precision.
    sum_K = torch.where(members_KN, values_BHW.flatten().float(), 0.0).sum(dim=1)
    return sum_K / count_K.clamp(min=1), count_K


def class_members(pseudo_BHW: Tensor, valid_BHW: Tensor, num_classes: int) -> Tensor:
    """members_KN: which of the N = B * H * W pixels are valid and predicted as class k."""
    classes_K1 = torch.arange(num_classes, device=pseudo_BHW.device)[:, None]
    return (pseudo_BHW.flatten() == classes_K1) & valid_BHW.flatten()


class AdaptiveFixMatch(FixMatch):
    """FixMatch with a threshold per class that follows the teacher's confidence."""

    options_type = AdaptiveOptions
    options: AdaptiveOptions
    perturbs_networks = False  # one memory cannot follow two teachers

    def pixel_weights(self, predicted: PixelPrediction, unlabelled: Unlabelled) -> Tensor:
        """By the thresholds, which in training have seen these pixels."""
        confidence_BHW, pseudo_BHW = predicted.confidence_BHW, predicted.pseudo_BHW
        if self.training:
            num_classes = self.setup.num_classes
            members_KN = class_members(pseudo_BHW, unlabelled.valid_BHW, num_classes)
            self.observe(confidence_BHW, members_KN)
        return self.weigh(confidence_BHW, pseudo_BHW)

    def observe(self, confidence_BHW: Tensor, members_KN: Tensor) -> None:
        """Move the running means."""
        raise NotImplementedError

    def paper_thresholds_K(self) -> Tensor:
        """Before they are bounded."""
        raise NotImplementedError

    def thresholds_K(self) -> Tensor:
        """In [floor, confidence_threshold]; the latter wins where it is lower."""
        cap = self.params.confidence_threshold
        return self.paper_thresholds_K().clamp(min=min(self.options.floor, cap), max=cap)

    def weigh(self, confidence_BHW: Tensor, pseudo_BHW: Tensor) -> Tensor:
        """True where the confidence reaches the threshold of the class."""
        return confidence_BHW >= self.thresholds_K()[pseudo_BHW]

    def running_means(self, num_quantities: int, start: float) -> RunningMean:
        """With the decay in force."""
        return RunningMean(num_quantities, start, self.options.decay)
