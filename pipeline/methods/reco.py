"""ReCo, regional contrast (Liu et al. 2022): hard pixels against the classes they resemble.

B images, C channels, K classes, H height, W width, h and w of representations, D their dimensions,
N pixels in a row.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pipeline.config.params import Share
from pipeline.methods.shared import contrast
from pipeline.methods.shared.base import Pair
from pipeline.methods.shared.losses import share
from pipeline.methods.shared.protocol import Batch, Losses, Unlabelled
from pipeline.types import IGNORE


class Options(contrast.ContrastOptions):
    """method.options of reco."""

    num_negatives: Annotated[int, Field(ge=1)] = 512
    """Keys against each anchor."""
    contrast_weight: Annotated[float, Field(ge=0)] = 1.0
    """Of the contrastive term."""
    valid_threshold: Share = 0.7
    """delta_w: pseudo-labels from this confidence on take part in the contrast."""
    hard_threshold: Share = 0.97
    """delta_s: anchors are pixels whose class the student gives less than this."""


class ReCo(contrast.Contrastive):
    """L = CE(student(x), y) + lambda(t) (sum_i w_i CE_i + contrast of representations).

    w_i is the reliable share of the mixed image i.
    """

    mixes = ("cutmix",)
    options_type = Options
    options: Options

    def learn(self, pair: Pair, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The terms `consistency` and `contrast`; reliable_share."""
        confidence_BHW, pseudo_BHW = pair.teacher(unlabelled.weak_BCHW).softmax(dim=1).max(dim=1)
        mix = self.mix(unlabelled, pseudo_BHW)
        confidence_BHW, pseudo_BHW = mix.moved(confidence_BHW), mix.moved(pseudo_BHW)
        valid_BHW = mix.valid(unlabelled.valid_BHW)
        reliable_BHW = confidence_BHW >= self.params.confidence_threshold
        images_BCHW = torch.cat([batch.images_BCHW, mix.images(unlabelled.strong[0].images_BCHW)])
        seen = contrast.see(pair.student, self.projection, images_BCHW)
        logits_BKHW = seen.logits_BKHW[len(batch.images_BCHW) :]
        compared_BHW = valid_BHW & (confidence_BHW >= self.options.valid_threshold)
        labels_BHW = torch.cat([batch.masks_BHW, pseudo_BHW.where(compared_BHW, IGNORE)])
        terms = {
            "consistency": weighted_cross_entropy(logits_BKHW, pseudo_BHW, reliable_BHW, valid_BHW),
            "contrast": self.options.contrast_weight
            * regional_contrast(seen, labels_BHW, self.options),
        }
        return Losses(terms, {"reliable_share": share(reliable_BHW, valid_BHW)})


def weighted_cross_entropy(
    logits_BKHW: Tensor, pseudo_BHW: Tensor, reliable_BHW: Tensor, valid_BHW: Tensor
) -> Tensor:
    """Cross-entropy times each image's reliable share, mean over valid pixels."""
    sides = (1, 2)
    num_reliable_B = (reliable_BHW & valid_BHW).sum(sides)
    share_B = num_reliable_B / valid_BHW.sum(sides).clamp(min=1)
    losses_BHW = F.cross_entropy(logits_BKHW, pseudo_BHW, reduction="none")
    total = (losses_BHW * share_B[:, None, None] * valid_BHW).sum()
    return total / valid_BHW.sum().clamp(min=1)


def regional_contrast(seen: contrast.Seen, labels_BHW: Tensor, options: Options) -> Tensor:
    """InfoNCE of hard pixels against their class's mean and others' pixels, mean over classes.

    Keys have no gradient. 0 where fewer than two classes are there (ReCo, eq. 1 to 3).
    """
    representation_BDhw = seen.representation_BDhw
    pixels_ND = contrast.in_a_row(representation_BDhw)
    labels_N = contrast.shrunk(labels_BHW, representation_BDhw).flatten()
    probs_BKHW = seen.logits_BKHW.detach().softmax(dim=1)
    probs_NK = contrast.in_a_row(contrast.shrunk(probs_BKHW, representation_BDhw))
    keys_ND = pixels_ND.detach()
    total = pixels_ND.sum() * 0.0  # a term with a gradient, whatever the classes
    present = [c for c in range(probs_NK.shape[1]) if (labels_N == c).any()]
    if len(present) < 2:
        return total
    means_PD = torch.stack([keys_ND[labels_N == c].mean(dim=0) for c in present])
    for place, c in enumerate(present):
        hard_N = (labels_N == c) & (probs_NK[:, c] < options.hard_threshold)
        if not hard_N.any():
            continue
        anchors_AD = contrast.rows(pixels_ND, contrast.draw(hard_N, options.num_anchors))
        odds_N = key_odds(labels_N, present, means_PD, place, options.temperature)
        num_keys = options.num_anchors * options.num_negatives
        chosen_AM = odds_N.multinomial(num_keys, replacement=True).view(options.num_anchors, -1)
        total = total + contrast.info_nce(
            anchors_AD, means_PD[place], keys_ND, chosen_AM, options.temperature
        )
    return total / len(present)


def key_odds(
    labels_N: Tensor, present: list[int], means_PD: Tensor, place: int, temperature: float
) -> Tensor:
    """How likely each pixel is drawn as a key against class `present[place]`; sums to 1.

    A class is drawn by softmax(cos(means) / T) over the others, then a pixel of it (ReCo, eq. 3).
    """
    cosines_P = F.cosine_similarity(means_PD[place], means_PD, dim=1) / temperature
    cosines_P[place] = -torch.inf
    odds_N = torch.zeros_like(labels_N, dtype=means_PD.dtype)
    for odds, c in zip(cosines_P.softmax(dim=0), present, strict=True):
        members_N = labels_N == c
        odds_N[members_N] = odds / members_N.sum()
    return odds_N
