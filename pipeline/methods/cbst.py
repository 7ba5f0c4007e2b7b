"""Class-balanced self-training (Zou et al. 2018): the surest share of every class is labelled.

B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor

from pipeline.config.block import Block
from pipeline.config.params import PositiveInt
from pipeline.methods.shared.protocol import MethodSetup, Unlabelled
from pipeline.methods.shared.self_training import SelfTraining
from pipeline.types import IGNORE

Portion = Annotated[float, Field(gt=0, le=1)]


class CBSTOptions(Block):
    """How much is labelled, and when."""

    rounds: PositiveInt = 4
    """Phases after the labelled one."""
    first_portion: Portion = 0.2
    """Share of each class's pixels that are labelled in the first round."""
    growth: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Added to the share in every further round."""
    last_portion: Portion = 0.5
    """The share grows no further."""
    pixel_stride: PositiveInt = 4
    """One pixel in so many is looked at for the thresholds."""


class CBST(SelfTraining):
    """yhat = argmax_c p_c / k_c where that reaches 1, else no label.

    k_c: confidence at rank portion * N_c of the N_c pixels predicted as c in the whole set. The
    student goes on from round to round.
    """

    options_type = CBSTOptions
    options: CBSTOptions

    def __init__(self, setup: MethodSetup) -> None:
        """Nobody is sure enough yet."""
        super().__init__(setup)
        self.register_buffer("thresholds_K", torch.ones(setup.num_classes))

    def planned_phases(self) -> int:
        """The labelled one and the rounds."""
        return 1 + self.options.rounds

    def labels(self, probs_BKHW: Tensor, unlabelled: Unlabelled) -> Tensor:
        """By probabilities in multiples of each class's threshold (eq. 5)."""
        thresholds_K = cast(Tensor, self.thresholds_K)
        multiple_BHW, classes_BHW = (probs_BKHW / thresholds_K[:, None, None]).max(dim=1)
        return torch.where(multiple_BHW >= 1.0, classes_BHW, IGNORE)

    def prepare_phase(self, phase: int) -> None:
        """New thresholds."""
        portion = self.options.first_portion + (phase - 1) * self.options.growth
        found_K = self.confidences_at(min(portion, self.options.last_portion))
        cast(Tensor, self.thresholds_K).copy_(found_K)

    def confidences_at(self, portion: float) -> Tensor:
        """thresholds_K over the whole set; 1 for a class nobody predicts (algorithm 2)."""
        seen = [self._seen(images_BCHW) for _, images_BCHW in self.setup.unlabelled.batches()]
        confidence_M = torch.cat([confidence for confidence, _ in seen])
        classes_M = torch.cat([classes for _, classes in seen])
        thresholds_K = torch.ones(self.setup.num_classes)
        for index in range(self.setup.num_classes):
            sorted_M = confidence_M[classes_M == index].sort(descending=True).values
            if len(sorted_M):
                thresholds_K[index] = sorted_M[max(int(portion * len(sorted_M)), 1) - 1]
        return thresholds_K

    def _seen(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        # On the CPU and in small types, for it is one of every few pixels of the whole set.
        confidence_BHW, classes_BHW = self.labeller(images_BCHW).softmax(dim=1).max(dim=1)
        stride = self.options.pixel_stride
        return confidence_BHW.flatten()[::stride].cpu(), classes_BHW.flatten()[
            ::stride
        ].byte().cpu()
