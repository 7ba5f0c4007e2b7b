"""CorrMatch (Sun et al. 2024): labels spread along the correlation of features.

B images, C channels, K classes, H height, W width, D channels of the deepest map, h and w its
sides, N = h * w places, M places whose regions are looked at.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.block import Block
from pipeline.config.params import Share
from pipeline.methods.shared.base import SemiSupervised, drawn
from pipeline.methods.shared.contrast import channels_of
from pipeline.methods.shared.feature_perturbations import FEATURE_PERTURBATIONS, Scene
from pipeline.methods.shared.losses import cross_entropy, reliable_cross_entropy, share
from pipeline.methods.shared.mixing import Mix
from pipeline.methods.shared.protocol import Batch, Losses, MethodSetup, Unlabelled
from pipeline.types import IGNORE

MOST_PLACES = 64 * 64  # the map of all pairs has N^2 values: 64 MiB an image
DROPPED = 0.1  # of the channels that are correlated, as in the authors' code
REGION_FROM = 0.5  # of the way from a place's least to its largest correlation


class Options(Block):
    """method.options of corrmatch."""

    dimensions: Annotated[int, Field(ge=1)] = 256
    """Channels of the features that are correlated."""
    num_regions: Annotated[int, Field(ge=1)] = 128
    """M: places drawn at every step; what correlates with one is its region."""
    threshold_start: Share = 0.85
    """tau before the first step; method.confidence_threshold is not looked at."""
    threshold_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Of tau's moving average."""
    regions: bool = True
    """Whether labels spread over whole regions; the rest of the method is as without."""


class Propagated(NamedTuple):
    """Logits after the places have told each other."""

    logits_BKHW: Tensor
    correlation_BNN: Tensor
    """Row i: how much place i tells each place; rows sum up to 1. Without gradient."""
    size: tuple[int, int]
    """h and w."""


class Correlation(nn.Module):
    """Corr = softmax(f_1(z)^T f_2(z) / sqrt(K)), and logits times it (section 3.2)."""

    def __init__(self, channels: int, num_classes: int, dimensions: int) -> None:
        """z: D = `channels` to `dimensions` by a 3x3 convolution; f: 1x1 to K channels each."""
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(channels, dimensions, 3, padding=1),
            nn.BatchNorm2d(dimensions),
            nn.ReLU(inplace=True),
            nn.Dropout2d(DROPPED),
        )
        self.first = nn.Conv2d(dimensions, num_classes, 1)
        self.second = nn.Conv2d(dimensions, num_classes, 1)

    def forward(self, deepest_BDhw: Tensor, logits_BKHW: Tensor) -> Propagated:
        """No gradient reaches `logits_BKHW`: the features alone learn to correlate."""
        while math.prod(deepest_BDhw.shape[-2:]) > MOST_PLACES:
            deepest_BDhw = F.avg_pool2d(deepest_BDhw, 2, ceil_mode=True)
        projected = self.project(deepest_BDhw)
        size = projected.shape[-2:]
        first_BKN, second_BKN = (f(projected).flatten(2) for f in (self.first, self.second))
        scores_BNN = first_BKN.transpose(1, 2) @ second_BKN / math.sqrt(first_BKN.shape[1])
        correlation_BNN = scores_BNN.softmax(dim=-1)
        small_BKN = _resized(logits_BKHW.detach(), size).flatten(2)
        told_BKhw = (small_BKN.to(correlation_BNN) @ correlation_BNN).unflatten(2, size)
        return Propagated(
            _resized(told_BKhw, logits_BKHW.shape[-2:]), correlation_BNN.detach(), tuple(size)
        )


class Labels(NamedTuple):
    """What is learnt of some images."""

    pseudo_BHW: Tensor
    reliable_BHW: Tensor
    valid_BHW: Tensor

    def loss(self, logits_BKHW: Tensor) -> Tensor:
        """Cross-entropy of the reliable pixels, divided by all valid ones."""
        return reliable_cross_entropy(logits_BKHW, *self)


class CorrMatch(SemiSupervised):
    """L = CE(student(x), y) + lambda(t) [L^c_x + (L_h + L_s + L_fp) / 2 + (L^c_h + L^c_w) / 4].

    c: logits told along the correlation. h: hard labels of the weak view, spread over regions, on
    the strong view; s: KL of the soft ones; fp: perturbed features; w: the weak view itself. The
    student labels and is kept. Pixels are reliable from tau on, which follows the surest pixel of
    every class.
    """

    mixes = ("cutmix",)
    feature_perturbations = ("dropout",)
    options_type = Options
    options: Options
    threshold: Tensor

    def __init__(self, setup: MethodSetup) -> None:
        """The correlation reads the student's deepest map."""
        super().__init__(setup)
        channels = channels_of(self.student, lambda network, images: network.encode(images)[-1])
        self.correlation = Correlation(channels, setup.num_classes, self.options.dimensions)
        self.register_buffer("threshold", torch.tensor(self.options.threshold_start))

    def unsupervised(self, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The terms `consistency`, `feature_consistency`, `correlation`; reliable_share, tau."""
        num = len(batch.images_BCHW)
        features = self.student.encode(torch.cat([batch.images_BCHW, unlabelled.weak_BCHW]))
        with torch.no_grad():
            logits_BKHW = self.student.decode(features)
        told = self.correlation(features[-1], logits_BKHW)
        probs_BKHW = logits_BKHW[num:].softmax(dim=1)
        confidence_BHW, pseudo_BHW = probs_BKHW.max(dim=1)
        if self.training:
            self.follow(confidence_BHW, pseudo_BHW, unlabelled.valid_BHW)
        weak = Labels(pseudo_BHW, confidence_BHW >= self.threshold, unlabelled.valid_BHW)
        mix = self.mix(unlabelled, pseudo_BHW)
        mixed = Labels(
            mix.moved(pseudo_BHW), mix.moved(weak.reliable_BHW), mix.valid(unlabelled.valid_BHW)
        )
        spread = self._spread(mixed, mix, told, num)
        strong_features = self.student.encode(mix.images(unlabelled.strong[0].images_BCHW))
        strong_BKHW = self.student.decode(strong_features)
        strong_told = self.correlation(strong_features[-1], strong_BKHW)
        perturbed_BKHW = self._perturbed([each[num:] for each in features], probs_BKHW)
        soft = soft_loss(strong_BKHW, mix.moved(probs_BKHW), mixed)
        on_labels = cross_entropy(told.logits_BKHW[:num], batch.masks_BHW)
        on_unlabelled = spread.loss(strong_told.logits_BKHW) + weak.loss(told.logits_BKHW[num:])
        terms = {
            "consistency": (spread.loss(strong_BKHW) + soft) / 2,
            "feature_consistency": weak.loss(perturbed_BKHW) / 2,
            "correlation": on_labels + on_unlabelled / 4,
        }
        reliable_share = share(weak.reliable_BHW, unlabelled.valid_BHW)
        return Losses(terms, {"reliable_share": reliable_share, "tau": self.threshold.clone()})

    @torch.no_grad()
    def follow(self, confidence_BHW: Tensor, pseudo_BHW: Tensor, valid_BHW: Tensor) -> None:
        """tau <- d tau + (1 - d) mean over the classes predicted of their largest confidence."""
        sure_BHW = torch.where(valid_BHW, confidence_BHW, 0.0)
        classes = range(self.setup.num_classes)
        largest_K = torch.stack(
            [torch.where(pseudo_BHW == k, sure_BHW, 0.0).amax() for k in classes]
        )
        seen = (largest_K > 0).sum()
        decay = self.options.threshold_decay
        moved = decay * self.threshold + (1 - decay) * largest_K.sum() / seen.clamp(min=1)
        self.threshold.copy_(torch.where(seen > 0, moved, self.threshold))

    @torch.no_grad()
    def _spread(self, mixed: Labels, mix: Mix, told: Propagated, num: int) -> Labels:
        """Labels of the mixed images, spread over regions of what is left of each image itself."""
        if not self.options.regions:
            return mixed
        own_BHW = mixed.valid_BHW & ~mix.foreign_BHW
        num_places = told.correlation_BNN.shape[-1]
        device = told.correlation_BNN.device
        drawn_M = torch.randint(num_places, (self.options.num_regions,), device=device)
        pseudo, reliable = [], []
        for place, own_HW in enumerate(own_BHW):
            rows_MN = told.correlation_BNN[num + place, drawn_M]
            regions_MHW = regions_of(rows_MN.view(-1, *told.size), own_HW.shape) & own_HW
            reliable_HW = mixed.reliable_BHW[place] & mixed.valid_BHW[place]
            labels_HW, reliable_HW = spread_labels(
                regions_MHW, mixed.pseudo_BHW[place], reliable_HW, float(self.threshold)
            )
            pseudo.append(labels_HW)
            reliable.append(reliable_HW)
        return Labels(torch.stack(pseudo), torch.stack(reliable), mixed.valid_BHW)

    def _perturbed(self, features: list[Tensor], probs_BKHW: Tensor) -> Tensor:
        if self.perturbation_names:
            perturb = drawn(self.perturbation_names, FEATURE_PERTURBATIONS)
            features = perturb(features, Scene(probs_BKHW, self.student.decode))
        return self.student.decode(features)


def soft_loss(logits_BKHW: Tensor, target_BKHW: Tensor, labels: Labels) -> Tensor:
    """KL(target, softmax(logits)) of the reliable pixels, divided by all valid ones."""
    spoken_BKHW = logits_BKHW.log_softmax(dim=1)
    losses_BHW = F.kl_div(spoken_BKHW, target_BKHW, reduction="none").sum(dim=1)
    reliable_BHW = labels.reliable_BHW & labels.valid_BHW
    return (losses_BHW * reliable_BHW).sum() / labels.valid_BHW.sum().clamp(min=1)


def regions_of(rows_Mhw: Tensor, size: tuple[int, ...]) -> Tensor:
    """regions_MHW: where a row's correlation is above the middle between its extremes."""
    rows_MHW = _resized(rows_Mhw[:, None], size)[:, 0]
    least_M11 = rows_MHW.amin(dim=(1, 2), keepdim=True)
    range_M11 = rows_MHW.amax(dim=(1, 2), keepdim=True) - least_M11
    return rows_MHW - least_M11 > REGION_FROM * range_M11


def spread_labels(
    regions_MHW: Tensor, pseudo_HW: Tensor, reliable_HW: Tensor, threshold: float
) -> tuple[Tensor, Tensor]:
    """(pseudo_HW, reliable_HW) of one image after one region after another has taken one label.

    A region whose pixels are reliable to at least `threshold`, and of these more than `threshold`
    of one class, becomes that class as a whole, and reliable (region propagation, section 3.3).
    """
    pseudo_HW, spread_HW = pseudo_HW.clone(), reliable_HW.clone()
    sure_M = (regions_MHW & reliable_HW).flatten(1).sum(1)
    shares_M = sure_M / regions_MHW.flatten(1).sum(1).clamp(min=1)
    candidates = ((sure_M > 0) & (shares_M >= threshold)).nonzero().flatten().tolist()
    for place in candidates:
        region_HW = regions_MHW[place]
        counts = torch.bincount(pseudo_HW[region_HW & reliable_HW], minlength=IGNORE + 1)
        largest = counts.max(dim=0)
        if largest.values / counts.sum() > threshold:
            pseudo_HW = torch.where(region_HW, largest.indices, pseudo_HW)
            spread_HW = spread_HW | region_HW
    return pseudo_HW, spread_HW


def _resized(values: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(values, tuple(size), mode="bilinear", align_corners=False)
