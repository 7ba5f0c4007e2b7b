"""UniMatch (Yang et al. 2023): two strong views and a stream of perturbed features, no teacher.

B images, C channels, K classes, H height, W width, D channels of a map, h and w its sides.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from pipeline.config.block import Block
from pipeline.methods.shared.base import SemiSupervised, drawn
from pipeline.methods.shared.feature_perturbations import FEATURE_PERTURBATIONS, Scene
from pipeline.methods.shared.losses import reliable_cross_entropy, share
from pipeline.methods.shared.protocol import Batch, Losses, Unlabelled


class Options(Block):
    """method.options of unimatch_v1."""

    view_weight: Annotated[float, Field(ge=0)] = 0.25
    """Of each of the two strong views."""
    feature_weight: Annotated[float, Field(ge=0)] = 0.5
    """Of the weak view with perturbed features."""


class UniMatchV1(SemiSupervised):
    """L = CE(student(x), y) + lambda(t) (1/4 L_s1 + 1/4 L_s2 + 1/2 L_fp), each as in FixMatch.

    The student's own prediction of the weak view labels all three; the student is kept.
    """

    num_strong_views = 2
    mixes = ("cutmix",)
    feature_perturbations = ("dropout",)
    options_type = Options
    options: Options

    def unsupervised(self, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The terms `consistency` and `feature_consistency`; reliable_share of the weak view."""
        clean_BKHW, perturbed_BKHW = self._weak_logits(unlabelled.weak_BCHW)
        confidence_BHW, pseudo_BHW = clean_BKHW.softmax(dim=1).max(dim=1)
        reliable_BHW = confidence_BHW >= self.params.confidence_threshold
        valid_BHW = unlabelled.valid_BHW
        mixes = [self.mix(unlabelled, pseudo_BHW, number) for number in range(2)]
        views = zip(mixes, unlabelled.strong, strict=True)
        images_BCHW = torch.cat([mix.images(view.images_BCHW) for mix, view in views])
        logits = self.student(images_BCHW).chunk(2)
        consistency = [
            reliable_cross_entropy(
                logits_BKHW, mix.moved(pseudo_BHW), mix.moved(reliable_BHW), mix.valid(valid_BHW)
            )
            for mix, logits_BKHW in zip(mixes, logits, strict=True)
        ]
        features = reliable_cross_entropy(perturbed_BKHW, pseudo_BHW, reliable_BHW, valid_BHW)
        terms = {
            "consistency": self.options.view_weight * torch.stack(consistency).sum(),
            "feature_consistency": self.options.feature_weight * features,
        }
        return Losses(terms, {"reliable_share": share(reliable_BHW, valid_BHW)})

    def _weak_logits(self, weak_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Of one encoding: as it is, without gradient, and with perturbed features."""
        features = self.student.encode(weak_BCHW)
        with torch.no_grad():
            clean_BKHW = self.student.decode(features)
        if self.perturbation_names:
            perturb = drawn(self.perturbation_names, FEATURE_PERTURBATIONS)
            features = perturb(features, Scene(clean_BKHW.softmax(dim=1), self.student.decode))
        return clean_BKHW, self.student.decode(features)
