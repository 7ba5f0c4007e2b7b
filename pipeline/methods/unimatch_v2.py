"""UniMatch V2 (Yang et al. 2025): two strong views whose dropped channels complement each other.

B images, C channels, K classes, H height, W width, D channels of a map, h and w its sides.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from pipeline.config.block import Block
from pipeline.methods.shared.base import Pair, TeacherStudent
from pipeline.methods.shared.losses import reliable_cross_entropy, share
from pipeline.methods.shared.mixing import Mix
from pipeline.methods.shared.protocol import Batch, Losses, Network, Unlabelled


class Options(Block):
    """method.options of unimatch_v2."""

    dropped_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the images whose channels are dropped; the others pass whole."""


class UniMatchV2(TeacherStudent):
    """L = CE(student(x), y) + lambda(t) (L_s1 + L_s2) / 2, each as in FixMatch.

    Both views go through the student in one forward, the channels that the first loses being those
    that the second keeps. method.feature_perturbations, if given, takes the place of that.
    """

    num_strong_views = 2
    mixes = ("cutmix",)
    options_type = Options
    options: Options

    def learn(self, pair: Pair, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The term `consistency`; reliable_share of both views."""
        probs_BKHW = pair.teacher(unlabelled.weak_BCHW).softmax(dim=1)
        confidence_BHW, pseudo_BHW = probs_BKHW.max(dim=1)
        reliable_BHW = confidence_BHW >= self.params.confidence_threshold
        mixes = [self.mix(unlabelled, pseudo_BHW, number) for number in range(2)]
        pairs = zip(mixes, unlabelled.strong, strict=True)
        images_BCHW = torch.cat([mix.images(view.images_BCHW) for mix, view in pairs])
        pseudo_BHW = torch.cat([mix.moved(pseudo_BHW) for mix in mixes])
        reliable_BHW = torch.cat([mix.moved(reliable_BHW) for mix in mixes])
        valid_BHW = torch.cat([mix.valid(unlabelled.valid_BHW) for mix in mixes])
        logits_BKHW = self._logits(pair.student, images_BCHW, probs_BKHW, mixes)
        both = (logits_BKHW, pseudo_BHW, reliable_BHW, valid_BHW)
        views = zip(*(each.chunk(2) for each in both), strict=True)
        loss = torch.stack([reliable_cross_entropy(*view) for view in views]).mean()
        return Losses({"consistency": loss}, {"reliable_share": share(reliable_BHW, valid_BHW)})

    def _logits(
        self, network: Network, images_BCHW: Tensor, probs_BKHW: Tensor, mixes: list[Mix]
    ) -> Tensor:
        if self.params.feature_perturbations is not None:
            moved_BKHW = torch.cat([mix.moved(probs_BKHW) for mix in mixes])
            return self.perturbed(network, images_BCHW, moved_BKHW)
        features = network.encode(images_BCHW)
        return network.decode(complementary_dropout(features, self.options.dropped_share))


def complementary_dropout(features: list[Tensor], dropped_share: float = 0.5) -> list[Tensor]:
    """Maps of two views times m and 2 - m, m = 2 Bernoulli(1/2) per image and channel (eq. 6).

    The first half of the batch is view 1, the second the same images as view 2; dropped_share of
    the images, drawn at random, are touched. Maps with equally many channels share one mask.
    """
    num_images = len(features[0]) // 2
    order = torch.randperm(num_images, device=features[0].device)
    whole = order[: num_images - round(num_images * dropped_share)]
    masks: dict[int, Tensor] = {}
    for map_BDhw in features[1:]:
        channels = map_BDhw.shape[1]
        if channels not in masks:
            half = torch.full((num_images, channels, 1, 1), 0.5, device=map_BDhw.device)
            mask = 2 * torch.bernoulli(half)
            mask[whole] = 1.0
            masks[channels] = torch.cat([mask, 2 - mask])
    return [features[0], *(each * masks[each.shape[1]].to(each.dtype) for each in features[1:])]
