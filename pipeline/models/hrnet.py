"""HRNetV2 (Wang et al. 2020, "Deep High-Resolution Representation Learning for Visual
Recognition"): timm's encoders keep four resolutions to the end; the head reads all of them.

B images, C channels, K classes, H height, W width, D channels of the representation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.config.block import Block, parse_block
from pipeline.errors import ModelError
from pipeline.models.encoders import EncoderChoice, timm_network
from pipeline.models.segmenter import Segmenter

PREFIX = "tu-hrnet_"
FIT = "tu-hrnet_w18_small_v2, tu-hrnet_w18, tu-hrnet_w32, tu-hrnet_w48"
RAW = {"features_only": True, "feature_location": "", "out_indices": (1, 2, 3, 4)}


class HRNetOptions(Block):
    """`model.options` of hrnet."""

    upsampling: Literal["bilinear", "nearest"] = "bilinear"
    """In the exchange units: bilinear as in the paper and the authors' segmentation code; nearest
    as in their classification code and timm, with which the pretrained weights were trained."""


def hrnet(encoder: EncoderChoice, num_classes: int, options: Mapping[str, Any]) -> Segmenter:
    """HRNetV2: timm's HRNet encoders, four resolutions fused at 1/4 of the image."""
    given = parse_block(HRNetOptions, options, source="model.options")
    if not encoder.name.startswith(PREFIX):
        raise ModelError(f"hrnet needs an HRNet encoder, not {encoder.name!r}; fit: {FIT}")
    branches = Branches(timm_network(encoder, **RAW))
    if given.upsampling == "bilinear":
        _upsample_bilinearly(branches)
    width = sum(branches.channels)
    return Segmenter(encoder=branches, decoder=Fusion(width), head=nn.Conv2d(width, num_classes, 1))


def _upsample_bilinearly(branches: nn.Module) -> None:
    """In all exchange units; timm's upsample by the nearest neighbour, and give no choice."""
    for module in branches.modules():
        if isinstance(module, nn.Upsample):
            module.mode, module.align_corners = "bilinear", False


class Branches(nn.Module):
    """images to [images, maps at 1/4, 1/8, 1/16 and 1/32]."""

    def __init__(self, features: nn.Module) -> None:
        """`features` is timm's network; it keeps timm's names, so weight files fit."""
        super().__init__()
        self.model = features

    @property
    def channels(self) -> list[int]:
        """Of the four maps."""
        info: Any = self.model.feature_info
        return list(info.channels())

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """The maps before timm's classification modules widen them."""
        return [images_BCHW, *self.model(images_BCHW)]


class Fusion(nn.Module):
    """All maps at the first one's size, side by side, through 1x1 convolution, norm and ReLU."""

    def __init__(self, width: int) -> None:
        """`width` channels in, the sum of the maps', and as many out (section 3.2)."""
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """representation_BDhw at 1/4."""
        finest = features[1]
        size = finest.shape[-2:]
        coarser = [
            F.interpolate(found, size, mode="bilinear", align_corners=False)
            for found in features[2:]
        ]
        return self.mix(torch.cat([finest, *coarser], dim=1))
