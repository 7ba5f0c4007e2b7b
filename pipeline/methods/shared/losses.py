"""Losses over pixels; every mean divides by the valid pixels, so that nothing valid gives 0.

B images, K classes, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.shared.protocol import Network
from pipeline.types import IGNORE

AUXILIARY_WEIGHT = 0.4  # of an auxiliary head (Hong et al. 2021, section 4; Zhao et al. 2017)
PixelLoss = Callable[[Tensor, Tensor], Tensor]
"""(logits_BKHW, masks_BHW) -> scalar; 0 where every pixel is IGNORE."""


def cross_entropy(logits_BKHW: Tensor, masks_BHW: Tensor) -> Tensor:
    """Mean cross-entropy over pixels that are not IGNORE; 0 if all are."""
    total = F.cross_entropy(logits_BKHW, masks_BHW, ignore_index=IGNORE, reduction="sum")
    return total / (masks_BHW != IGNORE).sum().clamp(min=1)


def labelled_loss(
    network: Network,
    images_BCHW: Tensor,
    masks_BHW: Tensor,
    pixel_loss: PixelLoss = cross_entropy,
) -> Tensor:
    """Loss of a network on labelled images; its auxiliary head's is added, weighed."""
    logits, auxiliary = network.with_auxiliary(images_BCHW)
    loss = pixel_loss(logits, masks_BHW)
    if auxiliary is None:
        return loss
    return loss + AUXILIARY_WEIGHT * pixel_loss(auxiliary, masks_BHW)


def reliable_cross_entropy(
    logits_BKHW: Tensor, pseudo_BHW: Tensor, weights_BHW: Tensor, valid_BHW: Tensor
) -> Tensor:
    """Cross-entropy times weight, summed, divided by all valid pixels (FixMatch, eq. 4).

    A weight is True where a pixel is reliable, or a number >= 0. Few reliable pixels thus weigh
    little; a mean over them alone would weigh 2 to 10 times more early on.
    """
    total = _weighted_sum(logits_BKHW, pseudo_BHW, weights_BHW, valid_BHW)
    return total / valid_BHW.sum().clamp(min=1)


def weighted_mean_cross_entropy(
    logits_BKHW: Tensor, pseudo_BHW: Tensor, weights_BHW: Tensor, valid_BHW: Tensor
) -> Tensor:
    """Cross-entropy times weight, summed, divided by max(sum of weights, 1); valid pixels alone."""
    total = _weighted_sum(logits_BKHW, pseudo_BHW, weights_BHW, valid_BHW)
    return total / (weights_BHW * valid_BHW).sum().clamp(min=1)


def _weighted_sum(
    logits_BKHW: Tensor, pseudo_BHW: Tensor, weights_BHW: Tensor, valid_BHW: Tensor
) -> Tensor:
    kept_BHW = torch.where((weights_BHW > 0) & valid_BHW, pseudo_BHW, IGNORE)
    losses_BHW = F.cross_entropy(logits_BKHW, kept_BHW, ignore_index=IGNORE, reduction="none")
    return (losses_BHW * weights_BHW).sum()


def probs_distance(probs_BKHW: Tensor, target_BKHW: Tensor, valid_BHW: Tensor) -> Tensor:
    """Squared difference of probabilities, mean over classes and valid pixels (Mean Teacher)."""
    squares_BHW = (probs_BKHW - target_BKHW).square().mean(dim=1)
    return (squares_BHW * valid_BHW).sum() / valid_BHW.sum().clamp(min=1)


def share(part: Tensor, whole: Tensor) -> Tensor:
    """Fraction of the True pixels of `whole` that are True in `part`; 0 if there are none.

    `part` may hold weights, of which none counts more than 1.
    """
    return (part.float().clamp(max=1.0) * whole).sum() / whole.sum().clamp(min=1)


def ramp_up(step: int, num_steps: float) -> float:
    """exp(-5 (1 - t/T)^2): .007 at step 0, 1 from step T on (Laine & Aila 2017)."""
    if num_steps <= 0:
        return 1.0
    return math.exp(-5.0 * (1.0 - min(step / num_steps, 1.0)) ** 2)


def likeliest(scores_BKHW: Tensor) -> Tensor:
    """classes_BHW of the largest score, the first of equals."""
    # argmax gives the same in eight times the time, where channels lie last in memory.
    return scores_BKHW.max(dim=1).indices
