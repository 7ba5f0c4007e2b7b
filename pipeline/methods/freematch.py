"""FreeMatch's self-adaptive thresholds and fairness (Wang et al. 2023), a pixel as an example.

B images, K classes, H height, W width, N = B * H * W pixels.
"""

from __future__ import annotations

from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor

from pipeline.methods.fixmatch import PixelPrediction
from pipeline.methods.shared.class_thresholds import (
    AdaptiveFixMatch,
    AdaptiveOptions,
    class_members,
)
from pipeline.methods.shared.losses import likeliest
from pipeline.methods.shared.protocol import MethodSetup, Unlabelled

TINY = 1e-12


class FreeMatchOptions(AdaptiveOptions):
    """How thresholds follow, and how much fairness counts."""

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """lambda of the running means, over about 1/(1-lambda) steps; the paper's .999 is for a million
    steps."""
    fairness_weight: Annotated[float, Field(ge=0)] = 0.01
    """w_f, of the fairness term."""


class FreeMatch(AdaptiveFixMatch):
    """FixMatch with tau(c) = tau p(c) / max p, and fairness: sum_c a(c) ln b(c).

    tau, p(c), h(c): running means, from 1/K on, of the teacher's confidence, its probability of c
    and the share of pixels predicted as c (eq. 5 to 8). a and b: p/h and the same of the student's
    kept pixels, each divided by its sum (eq. 9 to 11).
    """

    options_type = FreeMatchOptions
    options: FreeMatchOptions

    def __init__(self, setup: MethodSetup) -> None:
        """All means start at 1/K."""
        super().__init__(setup)
        start = 1.0 / setup.num_classes
        self.register_buffer("confidence", torch.tensor(start))
        self.register_buffer("mean_probs_K", torch.full((setup.num_classes,), start))
        self.register_buffer("shares_K", torch.full((setup.num_classes,), start))

    @torch.no_grad()
    def observe(self, predicted: PixelPrediction, unlabelled: Unlabelled) -> None:
        """m <- lambda m + (1 - lambda) mean over the valid pixels, if there is one."""
        valid_BHW = unlabelled.valid_BHW
        num_valid = valid_BHW.sum()
        members_KN = class_members(predicted.pseudo_BHW, valid_BHW, self.setup.num_classes)
        sums = {
            "confidence": (predicted.confidence_BHW * valid_BHW).sum(),
            "mean_probs_K": (predicted.probs_BKHW * valid_BHW[:, None]).sum(dim=(0, 2, 3)),
            "shares_K": members_KN.sum(dim=1),
        }
        move = (1.0 - self.options.decay) * (num_valid > 0)
        for name, total in sums.items():
            mean = cast(Tensor, getattr(self, name))
            mean.copy_(mean + move * (total / num_valid.clamp(min=1) - mean))

    def paper_thresholds_K(self) -> Tensor:
        """Eq. 8."""
        mean_probs_K = cast(Tensor, self.mean_probs_K)
        return cast(Tensor, self.confidence) * mean_probs_K / mean_probs_K.max()

    def pixel_terms(
        self, logits_BKHW: Tensor, pseudo_BHW: Tensor, weights_BHW: Tensor, valid_BHW: Tensor
    ) -> dict[str, Tensor]:
        """The terms `consistency` and `fairness`."""
        terms = super().pixel_terms(logits_BKHW, pseudo_BHW, weights_BHW, valid_BHW)
        fairness = self.fairness(logits_BKHW.softmax(dim=1), weights_BHW & valid_BHW)
        return {**terms, "fairness": self.options.fairness_weight * fairness}

    def fairness(self, probs_BKHW: Tensor, kept_BHW: Tensor) -> Tensor:
        """sum_c a(c) ln b(c) over the classes that the student predicts in a kept pixel; else 0.

        The others have no gradient: their b(c) is 0 whatever the student says.
        """
        members_KN = class_members(likeliest(probs_BKHW), kept_BHW, probs_BKHW.shape[1])
        count_K = members_KN.sum(dim=1)
        sum_K = (probs_BKHW * kept_BHW[:, None]).sum(dim=(0, 2, 3))
        learnt_K = _sum_to_one(torch.where(count_K > 0, sum_K / count_K.clamp(min=1), 0.0))
        wanted_K = _sum_to_one(
            cast(Tensor, self.mean_probs_K) / cast(Tensor, self.shares_K).clamp(min=TINY)
        )
        return torch.where(count_K > 0, wanted_K * learnt_K.clamp(min=TINY).log(), 0.0).sum()


def _sum_to_one(values_K: Tensor) -> Tensor:
    return values_K / values_K.sum().clamp(min=TINY)
