"""Masked image consistency (MIC): what is hidden of a target image is told from what is around it.

Hoyer et al. 2023. B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.methods.shared.losses import reliable_cross_entropy, share
from pipeline.methods.shared.protocol import Batch, Network, Unlabelled


@dataclass(frozen=True, kw_only=True)
class MaskedConsistency:
    """The loss term `masked`: unlabelled images of the current domain, most patches hidden."""

    confidence_threshold: float
    ratio: float
    """Share of the patches that is hidden."""
    patch_px: int
    """A patch's side, about: patches divide an image evenly."""
    target_N: Tensor
    """Per image of the unlabelled set: whether it is of the current domain."""

    def loss(self, student: Network, teacher: nn.Module, batch: Batch, seen: Unlabelled) -> Tensor:
        """w CE(student(M u_strong), yhat), the mean over valid pixels, not yet risen as lambda(t).

        yhat and q: the teacher's class and confidence on the whole weak view; w: the share of the
        batch's valid target pixels with q >= tau, in the authors' code the one of DACS.
        """
        with torch.no_grad():
            confidence_BHW, pseudo_BHW = teacher(seen.weak_BCHW).softmax(dim=1).max(dim=1)
        is_target_B11 = self.target_N.to(pseudo_BHW.device)[seen.index_B, None, None]
        valid_BHW = seen.valid_BHW & is_target_B11
        weight = share(confidence_BHW >= self.confidence_threshold, valid_BHW)
        images_BCHW = seen.strong[0].images_BCHW
        kept_B1HW = kept_patches(images_BCHW, self.ratio, self.patch_px)
        logits_BKHW = student(images_BCHW * kept_B1HW)
        return reliable_cross_entropy(
            logits_BKHW, pseudo_BHW, weight.expand(valid_BHW.shape), valid_BHW
        )


def kept_patches(images_BCHW: Tensor, ratio: float, patch_px: int) -> Tensor:
    """kept_B1HW: M, 1 where a patch is left, 0 in about `ratio` of them, drawn for each image.

    Uniform draws v per patch, kept where v > ratio; sides are rounded to whole patches.
    """
    size = images_BCHW.shape[-2:]
    patches = [max(1, round(side / patch_px)) for side in size]
    drawn_B1hw = torch.rand(len(images_BCHW), 1, *patches, device=images_BCHW.device)
    return F.interpolate((drawn_B1hw > ratio).to(images_BCHW.dtype), size, mode="nearest")
