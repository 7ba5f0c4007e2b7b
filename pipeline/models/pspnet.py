"""PSPNet (Zhao et al. 2017, "Pyramid Scene Parsing Network"): all stages of a dilated encoder at
1/8 of the image, averages over its quarters and ninths beside every pixel.

B images, C channels, K classes, h and w height and width at 1/8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.block import Block, parse_block
from pipeline.config.params import Share
from pipeline.models.encoders import EncoderChoice, drop_unused_blocks, feature_encoder
from pipeline.models.segmenter import Segmenter

STRIDE = 8
BINS = (1, 2, 3, 6)
AUXILIARY_WIDTH = 256  # as in the authors' code, like the two below


class PSPNetOptions(Block):
    """`model.options` of pspnet."""

    width: Annotated[int, Field(ge=1)] = 512
    """Channels that the last convolution reads."""
    dropout: Share = 0.1
    """Share of its channels, and of the auxiliary head's, that a training drops."""


def pspnet(encoder: EncoderChoice, num_classes: int, options: Mapping[str, Any]) -> Segmenter:
    """PSPNet: pyramid pooling on the last of all stages, dilated to stride 8; auxiliary loss."""
    given = parse_block(PSPNetOptions, options, source="model.options")
    features: Any = feature_encoder(encoder, output_stride=STRIDE)
    drop_unused_blocks(features)
    *_, fourth, last = features.out_channels
    return Segmenter(
        encoder=features,
        decoder=PyramidPooling(last, given.width, given.dropout),
        head=nn.Conv2d(given.width, num_classes, 1),
        auxiliary=nn.Sequential(
            _conv_norm_relu(fourth, AUXILIARY_WIDTH, 3),
            nn.Dropout2d(given.dropout),
            nn.Conv2d(AUXILIARY_WIDTH, num_classes, 1),
        ),
        auxiliary_level=-2,
    )


class PyramidPooling(nn.Module):
    """The deepest map beside its averages over 1, 4, 9 and 36 places, each with C/4 channels.

    Through a 3x3 convolution to `width` channels (section 3.2 and figure 3).
    """

    def __init__(self, channels: int, width: int, dropout: float) -> None:
        """`channels` is C."""
        super().__init__()
        part = max(1, channels // len(BINS))
        self.narrow = nn.ModuleList(_conv_norm_relu(channels, part, 1) for _ in BINS)
        self.merge = nn.Sequential(
            _conv_norm_relu(channels + part * len(BINS), width, 3), nn.Dropout2d(dropout)
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """representation_BDhw."""
        deepest = features[-1]
        found = [deepest]
        for side, narrow in zip(BINS, self.narrow, strict=True):
            # `area` averages as adaptive_avg_pool2d does, and goes to ONNX at any size.
            pooled = narrow(F.interpolate(deepest, (side, side), mode="area"))
            size = deepest.shape[-2:]
            found.append(F.interpolate(pooled, size, mode="bilinear", align_corners=False))
        return self.merge(torch.cat(found, dim=1))


def _conv_norm_relu(channels: int, out: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))
