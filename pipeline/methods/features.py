"""Perturbing feature maps between encoder and decoder, so that predictions must not hang on few.

A perturbation = one function and one row in FEATURE_PERTURBATIONS: (features, Scene) -> features.
The first of the features is the image itself and stays as it is. B images, D channels, K classes,
H height, W width at full size, h and w at a map's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.errors import ConfigError


class Scene(NamedTuple):
    """What a perturbation may look at beside the features."""

    probs_BKHW: Tensor
    """The target's probabilities on the same pixels, without gradient."""
    decode: Callable[[list[Tensor]], Tensor]
    """Features to logits_BKHW, by the decoder that will see the perturbed features."""


FeaturePerturbation = Callable[[list[Tensor], Scene], list[Tensor]]


def dropout(features: list[Tensor], _scene: Scene) -> list[Tensor]:
    """Half of the channels of every map set to 0, the rest doubled (UniMatch, Yang et al. 2023)."""
    return [features[0], *(F.dropout2d(map_BDhw, 0.5, training=True) for map_BDhw in features[1:])]


FEATURE_PERTURBATIONS: dict[str, FeaturePerturbation] = {
    "dropout": dropout,
}


def draw_perturbation(names: tuple[str, ...]) -> FeaturePerturbation:
    """One of the named ones, drawn from torch's global generator if there are several."""
    place = int(torch.randint(len(names), ())) if len(names) > 1 else 0
    return FEATURE_PERTURBATIONS[names[place]]


def check_perturbations(names: tuple[str, ...]) -> tuple[str, ...]:
    """`names`; ConfigError for an unknown one, listing the known."""
    for name in names:
        if name not in FEATURE_PERTURBATIONS:
            known = ", ".join(FEATURE_PERTURBATIONS)
            raise ConfigError(f"method.feature_perturbations: {name!r}: unknown; known: {known}")
    return names
