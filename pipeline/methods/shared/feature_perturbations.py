"""Perturbing feature maps between encoder and decoder, so that predictions must not hang on few.

A perturbation = one function and one row in FEATURE_PERTURBATIONS: (features, Scene) -> features.
The first of the features is the image itself and stays as it is; all maps are perturbed, for what
skips past the deepest would tell the rest. B images, D channels, K classes, H height, W width at
full size, h and w at a map's. All but `dropout` are from CCT (Ouali et al. 2020, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.shared.losses import likeliest
from pipeline.methods.shared.mixing import half_of_classes
from pipeline.methods.shared.vat import adversarial_step

DROP_RANGE = (0.7, 0.9)  # gamma, share of the largest activation
NOISE_RANGE = (-0.3, 0.3)  # relative to the features
VAT_NORM = 2.0  # epsilon, of an image's perturbation
CUTOUT_SIDE = 0.4  # of the sides of a region's bounding box


class Scene(NamedTuple):
    """What a perturbation may look at beside the features."""

    probs_BKHW: Tensor
    """The target's probabilities on the same pixels, without gradient."""
    decode: Callable[[list[Tensor]], Tensor]
    """Features to logits_BKHW, by the decoder that will see the perturbed features; repeatable,
    and without a trace in its batch-norm statistics."""


FeaturePerturbation = Callable[[list[Tensor], Scene], list[Tensor]]


def dropout(features: list[Tensor], _scene: Scene) -> list[Tensor]:
    """Half of the channels of every map set to 0, the rest doubled (UniMatch, Yang et al. 2023)."""
    return [features[0], *(F.dropout2d(map_BDhw, 0.5, training=True) for map_BDhw in features[1:])]


def feature_drop(features: list[Tensor], _scene: Scene) -> list[Tensor]:
    """The most active positions set to 0: a = mean over channels, a >= gamma max(a)."""
    gamma = torch.empty(()).uniform_(*DROP_RANGE).item()

    def dropped(map_BDhw: Tensor) -> Tensor:
        activity_B1hw = map_BDhw.mean(dim=1, keepdim=True)
        largest_B111 = activity_B1hw.amax(dim=(2, 3), keepdim=True)
        return map_BDhw * (activity_B1hw < gamma * largest_B111)

    return [features[0], *map(dropped, features[1:])]


def feature_noise(features: list[Tensor], _scene: Scene) -> list[Tensor]:
    """z + z N, N uniform in [-.3, .3] and the same for all images of the batch."""

    def noisy(map_BDhw: Tensor) -> Tensor:
        noise_Dhw = torch.empty_like(map_BDhw[0]).uniform_(*NOISE_RANGE)
        return map_BDhw + map_BDhw * noise_Dhw

    return [features[0], *map(noisy, features[1:])]


def vat(features: list[Tensor], scene: Scene) -> list[Tensor]:
    """z + r, |r| = 2 for each image, along which its prediction changes most (I-VAT)."""
    steps = adversarial_step(features, scene.decode, VAT_NORM)
    moved = [z + r.to(z.dtype) for z, r in zip(features[1:], steps, strict=True)]
    return [features[0], *moved]


def context_mask(features: list[Tensor], scene: Scene) -> list[Tensor]:
    """Objects alone are kept; an image of one class, which has none, as it is."""
    object_BHW = _objects(scene)
    without_B = ~object_BHW.flatten(1).any(dim=1)
    return _kept(features, object_BHW | without_B[:, None, None])


def object_mask(features: list[Tensor], scene: Scene) -> list[Tensor]:
    """All but the objects is kept."""
    return _kept(features, ~_objects(scene))


def guided_cutout(features: list[Tensor], scene: Scene) -> list[Tensor]:
    """In the bounding box of each object class's region, a random box of .4 x .4 its sides erased.

    One box for all pixels of a class, not one for each contour as in the paper.
    """
    classes_B1HW = likeliest(scene.probs_BKHW)[:, None]
    numbers_K11 = torch.arange(scene.probs_BKHW.shape[1], device=classes_B1HW.device)[:, None, None]
    regions_BKHW = (classes_B1HW == numbers_K11) & _objects(scene)[:, None]
    rows_BKH = _part(regions_BKHW.any(dim=3), CUTOUT_SIDE).float()
    columns_BKW = _part(regions_BKHW.any(dim=2), CUTOUT_SIDE).float()
    erased_BHW = torch.einsum("bkh,bkw->bhw", rows_BKH, columns_BKW) > 0
    return _kept(features, ~erased_BHW)


def _objects(scene: Scene) -> Tensor:
    """object_BHW: a random half of the predicted classes, since no class is background for all."""
    return half_of_classes(likeliest(scene.probs_BKHW), scene.probs_BKHW.shape[1])


def _kept(features: list[Tensor], kept_BHW: Tensor) -> list[Tensor]:
    """Maps set to 0 where `kept_BHW` is False at the nearest pixel."""
    kept_B1HW = kept_BHW[:, None].float()

    def masked(map_BDhw: Tensor) -> Tensor:
        kept_B1hw = F.interpolate(kept_B1HW, map_BDhw.shape[-2:], mode="nearest-exact")
        return map_BDhw * kept_B1hw.bool()

    return [features[0], *map(masked, features[1:])]


def _part(touched_BKN: Tensor, share: float) -> Tensor:
    """True in a random run of `share` of the places from the first to the last that is True."""
    places_N = torch.arange(touched_BKN.shape[-1], device=touched_BKN.device)
    first_BK = torch.where(touched_BKN, places_N, len(places_N)).amin(-1)
    last_BK = torch.where(touched_BKN, places_N, -1).amax(-1)
    length_BK = (last_BK - first_BK + 1).clamp(min=0)
    part_BK = (share * length_BK).round().long()
    room_BK = length_BK - part_BK + 1
    offset_BK = (torch.rand(room_BK.shape, device=room_BK.device) * room_BK).long()
    start_BK1 = (first_BK + offset_BK)[..., None]
    return (places_N >= start_BK1) & (places_N < start_BK1 + part_BK[..., None])


FEATURE_PERTURBATIONS: dict[str, FeaturePerturbation] = {
    "dropout": dropout,
    "feature_drop": feature_drop,
    "feature_noise": feature_noise,
    "vat": vat,
    "context_mask": context_mask,
    "object_mask": object_mask,
    "guided_cutout": guided_cutout,
}
