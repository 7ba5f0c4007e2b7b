"""CCT (Ouali et al. 2020): auxiliary decoders must see through perturbed features.

B images, D channels of the deepest feature map, K classes, H height, W width at full size, h and w
at the map's.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.block import Block
from pipeline.errors import ConfigError
from pipeline.methods.shared.base import SemiSupervised
from pipeline.methods.shared.dropout_switch import steady, steady_decode
from pipeline.methods.shared.feature_perturbations import FEATURE_PERTURBATIONS, Scene
from pipeline.methods.shared.losses import probs_distance
from pipeline.methods.shared.protocol import Batch, Losses, MethodSetup, Network, Unlabelled

LOOK = (2, 3, 64, 64)  # images that tell the channels: divisible by 32, enough for batch norm
Count = Annotated[int, Field(ge=0, le=30)]


class Options(Block):
    """Auxiliary decoders of each kind: a third of the paper's 6, 6, 6, 6, 2, 2, 2."""

    dropout: Count = 2
    """Half of the channels dropped."""
    feature_drop: Count = 2
    """The most active positions dropped."""
    feature_noise: Count = 2
    """Multiplied by noise."""
    guided_cutout: Count = 2
    """A box in each object class's region erased."""
    context_mask: Count = 1
    """Objects alone kept."""
    object_mask: Count = 1
    """All but the objects kept."""
    vat: Count = 1
    """Moved to where the prediction changes most; costs two passes and a gradient of its head."""


class CCT(SemiSupervised):
    """L = CE(main(x), y) + lambda(t) mean over decoders k of (softmax aux_k - softmax main)^2.

    On unlabelled images alone; main(z) has no gradient there, aux_k sees z perturbed.
    """

    feature_perturbations = tuple(Options.model_fields)
    options_type = Options
    options: Options

    def __init__(self, setup: MethodSetup) -> None:
        """ConfigError for what CCT has no place for: mixes, no decoder at all."""
        super().__init__(setup)
        counts = self.options.model_dump()
        kinds = [name for name in self.perturbation_names for _ in range(counts.get(name, 1))]
        self._refuse(num_decoders=len(kinds))
        self.kinds = tuple(kinds)
        channels = _deepest_channels(self.student)
        self.auxiliary = nn.ModuleList(nn.Conv2d(channels, setup.num_classes, 1) for _ in kinds)

    def unsupervised(self, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The term `consistency`."""
        image_BCHW, *maps = self.student.encode(unlabelled.weak_BCHW)
        with torch.no_grad():
            target_BKHW = steady_decode(self.student)([image_BCHW, *maps]).softmax(dim=1)
        distances = [
            probs_distance(learnt_BKHW, target_BKHW, unlabelled.valid_BHW)
            for learnt_BKHW in self._auxiliary_probs([image_BCHW, maps[-1]], target_BKHW)
        ]
        return Losses({"consistency": torch.stack(distances).mean()}, {})

    def _auxiliary_probs(self, features: list[Tensor], target_BKHW: Tensor) -> Iterator[Tensor]:
        for kind, head in zip(self.kinds, self.auxiliary, strict=True):
            decode = partial(_decode, head)
            perturbed = FEATURE_PERTURBATIONS[kind](features, Scene(target_BKHW, decode))
            yield decode(perturbed).softmax(dim=1)

    def _refuse(self, *, num_decoders: int) -> None:
        if self.mix_names != ("none",):
            raise ConfigError("method.mixes: cct perturbs features alone; use null or [none]")
        if not num_decoders:
            raise ConfigError("method.options of cct: no auxiliary decoder; set one of the counts")


def _decode(head: nn.Module, features: list[Tensor]) -> Tensor:
    """logits_BKHW from the image and the deepest map."""
    image_BCHW, deepest_BDhw = features
    size = image_BCHW.shape[-2:]
    return F.interpolate(head(deepest_BDhw), size, mode="bilinear", align_corners=False)


@torch.no_grad()
def _deepest_channels(network: Network) -> int:
    with steady(cast(nn.Module, network)):
        return network.encode(torch.zeros(LOOK))[-1].shape[1]
