"""UniMatch (Yang et al. 2023): two strong views and a stream of perturbed features, no teacher.

B images, C channels, K classes, H height, W width, D channels of a map, h and w its sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from pipeline.config.block import Block
from pipeline.methods.shared.base import SemiSupervised, drawn
from pipeline.methods.shared.feature_perturbations import FEATURE_PERTURBATIONS, Scene
from pipeline.methods.shared.losses import reliable_cross_entropy, share
from pipeline.methods.shared.mixing import Mix
from pipeline.methods.shared.protocol import Batch, Losses, Unlabelled


class Options(Block):
    """method.options of unimatch_v1."""

    view_weight: Annotated[float, Field(ge=0)] = 0.25
    """Of each of the two strong views."""
    feature_weight: Annotated[float, Field(ge=0)] = 0.5
    """Of the weak view with perturbed features."""


class PseudoLabels(NamedTuple):
    """What weak views are said to show."""

    pseudo_BHW: Tensor
    reliable_BHW: Tensor


class Streams(NamedTuple):
    """What the student makes of the unlabelled images of a step."""

    mixes: list[Mix]
    """Of each strong view."""
    strong: Sequence[Tensor]
    """logits_BKHW of each, mixed."""
    perturbed_BKHW: Tensor
    """Logits of the weak view with perturbed features."""


def labelled_by(logits_BKHW: Tensor, threshold: float) -> PseudoLabels:
    """Classes of largest probability, reliable from `threshold` on."""
    confidence_BHW, pseudo_BHW = logits_BKHW.detach().softmax(dim=1).max(dim=1)
    return PseudoLabels(pseudo_BHW, confidence_BHW >= threshold)


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
        labels = labelled_by(clean_BKHW, self.params.confidence_threshold)
        streams = self._streams(unlabelled, labels, perturbed_BKHW)
        terms = self.stream_losses(streams, labels, unlabelled.valid_BHW)
        return Losses(
            {**terms, **self.more_terms(streams, unlabelled, step)},
            {"reliable_share": share(labels.reliable_BHW, unlabelled.valid_BHW)},
        )

    def more_terms(self, streams: Streams, unlabelled: Unlabelled, step: int) -> dict[str, Tensor]:
        """Of methods that build on this one."""
        return {}

    def stream_losses(
        self, streams: Streams, labels: PseudoLabels, valid_BHW: Tensor
    ) -> dict[str, Tensor]:
        """`consistency` and `feature_consistency` with these labels of the weak view."""
        pseudo_BHW, reliable_BHW = labels
        consistency = [
            reliable_cross_entropy(
                logits_BKHW, mix.moved(pseudo_BHW), mix.moved(reliable_BHW), mix.valid(valid_BHW)
            )
            for mix, logits_BKHW in zip(streams.mixes, streams.strong, strict=True)
        ]
        features = reliable_cross_entropy(
            streams.perturbed_BKHW, pseudo_BHW, reliable_BHW, valid_BHW
        )
        return {
            "consistency": self.options.view_weight * torch.stack(consistency).sum(),
            "feature_consistency": self.options.feature_weight * features,
        }

    def _streams(
        self, unlabelled: Unlabelled, labels: PseudoLabels, perturbed_BKHW: Tensor
    ) -> Streams:
        mixes = [self.mix(unlabelled, labels.pseudo_BHW, number) for number in range(2)]
        views = zip(mixes, unlabelled.strong, strict=True)
        images_BCHW = torch.cat([mix.images(view.images_BCHW) for mix, view in views])
        return Streams(mixes, self.student(images_BCHW).chunk(2), perturbed_BKHW)

    def _weak_logits(self, weak_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Of one encoding: as it is, without gradient, and with perturbed features."""
        features = self.student.encode(weak_BCHW)
        with torch.no_grad():
            clean_BKHW = self.student.decode(features)
        if self.perturbation_names:
            perturb = drawn(self.perturbation_names, FEATURE_PERTURBATIONS)
            features = perturb(features, Scene(clean_BKHW.softmax(dim=1), self.student.decode))
        return clean_BKHW, self.student.decode(features)
