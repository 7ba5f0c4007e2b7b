"""The loss of labelled pixels as train.* asks for: noise-robust, weighed by class, hard ones only.

B images, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config.params import TrainParams
from pipeline.methods.shared.losses import PixelLoss, cross_entropy, labelled_loss
from pipeline.types import IGNORE

# Symmetric cross-entropy (Wang et al. 2019): of the paper's pairs (.1, 1) and (6, .1) the one that
# leans on the robust half, for that is what the option is asked for.
ALPHA, BETA = 0.1, 1.0
LOG_OF_0 = -4.0  # A of the paper: what log 0 of a one-hot label is clipped to
# Online hard example mining as in DeepLab-like training on Cityscapes: .7 everywhere; the least
# number is a share, since the usual 100,000 to 200,000 pixels are more than a small batch has.
OHEM_EASY = 0.7
OHEM_MIN_KEPT = 1 / 16


def build_labelled_loss(
    params: TrainParams, weights_K: Tensor | None
) -> Callable[[Any, Tensor, Tensor], Tensor]:
    """MethodSetup.labelled_loss by train.loss and train.ohem; `weights_K` by class, if any.

    With the defaults it is `pipeline.methods.shared.losses.labelled_loss` itself.
    """
    pixel_loss = build_pixel_loss(params, weights_K)
    if pixel_loss is cross_entropy:
        return labelled_loss
    return partial(labelled_loss, pixel_loss=pixel_loss)


def build_pixel_loss(params: TrainParams, weights_K: Tensor | None) -> PixelLoss:
    """The same of logits that are there already."""
    if params.loss == "cross_entropy" and not params.ohem and weights_K is None:
        return cross_entropy
    symmetric = params.loss == "symmetric_cross_entropy"
    ohem = params.ohem

    def loss(logits_BKHW: Tensor, masks_BHW: Tensor) -> Tensor:
        logits_BKHW = logits_BKHW.float()
        kept_BHW = hard_pixels(logits_BKHW, masks_BHW) if ohem else masks_BHW
        if not symmetric and weights_K is None:
            return cross_entropy(logits_BKHW, kept_BHW)
        each = symmetric_cross_entropy if symmetric else _each_cross_entropy
        losses_BHW = each(logits_BKHW, kept_BHW)
        valid_BHW = kept_BHW != IGNORE
        if weights_K is not None:
            weights = weights_K.to(losses_BHW)
            losses_BHW = losses_BHW * weights[kept_BHW.masked_fill(~valid_BHW, 0)]
        return losses_BHW.sum() / valid_BHW.sum().clamp(min=1)

    return loss


def symmetric_cross_entropy(logits_BKHW: Tensor, masks_BHW: Tensor) -> Tensor:
    """losses_BHW: alpha CE + beta RCE of every pixel, 0 where IGNORE (Wang et al. 2019).

    RCE = -sum_k p_k log q_k of a one-hot q, which is -A (1 - p_y): bounded, so that a label which
    the network firmly denies pulls less and less.
    """
    valid_BHW = masks_BHW != IGNORE
    classes_B1HW = masks_BHW.masked_fill(~valid_BHW, 0)[:, None]
    true_BHW = logits_BKHW.softmax(dim=1).gather(1, classes_B1HW)[:, 0]
    reverse_BHW = -LOG_OF_0 * (1.0 - true_BHW) * valid_BHW
    return ALPHA * _each_cross_entropy(logits_BKHW, masks_BHW) + BETA * reverse_BHW


@torch.no_grad()
def hard_pixels(logits_BKHW: Tensor, masks_BHW: Tensor) -> Tensor:
    """Masks in which pixels that are easy are IGNORE (Shrivastava et al. 2016).

    Kept: p_true <= max(.7, the k-th smallest p_true of the batch), k = 1/16 of its pixels; all
    where fewer have a label, so that scribbles stay whole.
    """
    valid_BHW = masks_BHW != IGNORE
    num_kept = max(1, int(OHEM_MIN_KEPT * masks_BHW.numel()))
    classes_B1HW = masks_BHW.masked_fill(~valid_BHW, 0)[:, None]
    true_BHW = logits_BKHW.softmax(dim=1).gather(1, classes_B1HW)[:, 0]
    # Pixels without a label come last; with fewer than k labels the k-th is one of them: infinite.
    ranked = true_BHW.masked_fill(~valid_BHW, torch.inf).flatten()
    bound = ranked.kthvalue(num_kept).values.clamp(min=OHEM_EASY)
    return masks_BHW.masked_fill(true_BHW > bound, IGNORE)


def _each_cross_entropy(logits_BKHW: Tensor, masks_BHW: Tensor) -> Tensor:
    return F.cross_entropy(logits_BKHW, masks_BHW, ignore_index=IGNORE, reduction="none")
