"""Cross-domain ClassMix (DACS): labelled classes pasted onto images of the current domain.

DACS, Tranheden et al. 2021. B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.methods.shared.losses import reliable_cross_entropy, share
from pipeline.methods.shared.mixing import half_of_classes
from pipeline.methods.shared.protocol import Batch, Network, Unlabelled
from pipeline.types import IGNORE


class Mixed(NamedTuple):
    """Mixed images of both domains, with their labels and weights."""

    images_BCHW: Tensor
    masks_BHW: Tensor
    """Ground truth where pasted, pseudo-labels elsewhere."""
    weights_BHW: Tensor
    """1 where pasted; elsewhere the share of the batch's target pixels that are reliable."""
    valid_BHW: Tensor
    """False where either image is padding or the pasted pixel has no label."""


@dataclass(frozen=True, kw_only=True)
class CrossDomainMix:
    """The loss term `cross_domain`: ClassMix of a labelled and an unlabelled image."""

    num_classes: int
    confidence_threshold: float
    target_N: Tensor
    """Per image of the unlabelled set: whether it is of the current domain."""
    recoloured: Callable[[Tensor], Tensor]
    """Strong colours of normalised images_BCHW, drawn anew at every call."""

    def loss(self, student: Network, teacher: nn.Module, batch: Batch, seen: Unlabelled) -> Tensor:
        """Cross-entropy of the student on the mixed images, not yet risen as lambda(t) does.

        The teacher sees the weak view of the target; the student that same view, pasted on and then
        recoloured, as in the authors' code.
        """
        with torch.no_grad():
            confidence_BHW, pseudo_BHW = teacher(seen.weak_BCHW).softmax(dim=1).max(dim=1)
        place_B = torch.arange(len(pseudo_BHW), device=pseudo_BHW.device) % len(batch.images_BCHW)
        masks_BHW = batch.masks_BHW[place_B]
        is_target_B11 = self.target_N.to(pseudo_BHW.device)[seen.index_B, None, None]
        valid_BHW = seen.valid_BHW & is_target_B11
        weight = share(confidence_BHW >= self.confidence_threshold, valid_BHW)
        target = Mixed(seen.weak_BCHW, pseudo_BHW, weight.expand(valid_BHW.shape), valid_BHW)
        chosen_BHW = half_of_classes(masks_BHW, self.num_classes, "up")
        mixed = paste(chosen_BHW, batch.images_BCHW[place_B], masks_BHW, target)
        logits_BKHW = student(self.recoloured(mixed.images_BCHW))
        return reliable_cross_entropy(
            logits_BKHW, mixed.masks_BHW, mixed.weights_BHW, mixed.valid_BHW
        )


def paste(chosen_BHW: Tensor, images_BCHW: Tensor, masks_BHW: Tensor, target: Mixed) -> Mixed:
    """The chosen pixels of labelled images over `target`; none on an image without a valid pixel.

    Chosen pixels have a class: `half_of_classes` never draws IGNORE.
    """
    chosen_BHW = chosen_BHW & target.valid_BHW.flatten(1).any(dim=1)[:, None, None]
    return Mixed(
        torch.where(chosen_BHW[:, None], images_BCHW, target.images_BCHW),
        torch.where(chosen_BHW, masks_BHW, target.masks_BHW),
        torch.where(chosen_BHW, 1.0, target.weights_BHW),
        (chosen_BHW & (masks_BHW != IGNORE)) | (~chosen_BHW & target.valid_BHW),
    )
