"""DDRNet (Hong et al. 2021, "Deep Dual-resolution Networks for Real-time and Accurate Semantic
Segmentation of Road Scenes"): a branch at 1/8 for detail beside one down to 1/64 for context.

B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.models.encoders import EncoderChoice
from pipeline.models.segmenter import Segmenter


@dataclass(frozen=True, kw_only=True)
class DDRNetVariant:
    """One row of the paper's table 1: widths in channels, numbers of residual blocks."""

    width: int
    """Of the first stage; the 1/8 branch has twice as many channels."""
    blocks: tuple[int, int, int, int]
    """Of stages conv2, conv3, conv4 and conv5_1."""
    num_fusions_at_stage_4: int
    """conv4 is cut into this many parts, each followed by a bilateral fusion."""
    pyramid: int
    """Channels of DAPPM's branches."""
    head: int
    """Channels of the segmentation head."""


VARIANTS = {
    "ddrnet23_slim": DDRNetVariant(
        width=32, blocks=(2, 2, 2, 2), num_fusions_at_stage_4=1, pyramid=128, head=64
    ),
    "ddrnet23": DDRNetVariant(
        width=64, blocks=(2, 2, 2, 2), num_fusions_at_stage_4=1, pyramid=128, head=128
    ),
    "ddrnet39": DDRNetVariant(
        width=64, blocks=(3, 4, 6, 3), num_fusions_at_stage_4=2, pyramid=128, head=256
    ),
}


def ddrnet23_slim(encoder: EncoderChoice, num_classes: int, options: Mapping[str, Any]) -> DDRNet:
    """DDRNet-23-slim, made for real time: 5.7 M parameters."""
    return _build("ddrnet23_slim", encoder, num_classes, options)


def ddrnet23(encoder: EncoderChoice, num_classes: int, options: Mapping[str, Any]) -> DDRNet:
    """DDRNet-23: 20.1 M parameters."""
    return _build("ddrnet23", encoder, num_classes, options)


def ddrnet39(encoder: EncoderChoice, num_classes: int, options: Mapping[str, Any]) -> DDRNet:
    """DDRNet-39: 32.3 M parameters."""
    return _build("ddrnet39", encoder, num_classes, options)


def _build(
    name: str, encoder: EncoderChoice, num_classes: int, options: Mapping[str, Any]
) -> DDRNet:
    if options or encoder.options:
        given = {**options, **encoder.options}
        raise ModelError(f"{name} takes neither options nor encoder_options, got {given}")
    if encoder.hub:
        raise ModelError(
            f"{name} has an encoder of its own, which no hub keeps; "
            "give model.encoder_weights a local file or null"
        )
    return DDRNet(VARIANTS[name], num_classes)


class DDRNet(Segmenter):
    """Both branches, the head on their sum, the auxiliary head on the detail after stage 4.

    The auxiliary head reads that sum before its ReLU, as in the authors' code; the paper does not
    say.
    """

    def __init__(self, variant: DDRNetVariant, num_classes: int) -> None:
        """Weights drawn as by He et al. 2015, for fan out."""
        detail = 2 * variant.width
        super().__init__(
            encoder=DualResolution(variant),
            decoder=Trunk(2 * detail, variant.head),
            head=nn.Conv2d(variant.head, num_classes, 1),
            auxiliary=DDRNetHead(detail, variant.head, num_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class DualResolution(nn.Module):
    """images to [images, detail after stage 4 (2w channels), both branches fused (4w)], at 1/8.

    Both maps are sums whose ReLU is left to whoever reads them.
    """

    def __init__(self, variant: DDRNetVariant) -> None:
        """`w = variant.width`."""
        super().__init__()
        w = variant.width
        first, second, third, fourth = variant.blocks
        self.stem = nn.Sequential(*_conv_norm_relu(3, w, 2), *_conv_norm_relu(w, w, 2))
        self.stage_2 = _stage(w, w, first, stride=1)
        self.stage_3 = _stage(w, 2 * w, second, stride=2)
        parts = variant.num_fusions_at_stage_4
        self.context_4, self.detail_4 = nn.ModuleList(), nn.ModuleList()
        self.fusion_4 = nn.ModuleList()
        for part in range(parts):
            start = part == 0
            self.context_4.append(
                _stage(2 * w if start else 4 * w, 4 * w, third // parts, stride=2 if start else 1)
            )
            self.detail_4.append(_stage(2 * w, 2 * w, third // parts, stride=1))
            self.fusion_4.append(BilateralFusion(detail=2 * w, context=4 * w, num_halvings=1))
        self.context_5 = _stage(4 * w, 8 * w, fourth, stride=2)
        self.detail_5 = _stage(2 * w, 2 * w, fourth, stride=1)
        self.fusion_5 = BilateralFusion(detail=2 * w, context=8 * w, num_halvings=2)
        self.detail_6 = Bottleneck(2 * w, 2 * w, stride=1)
        self.context_6 = Bottleneck(8 * w, 8 * w, stride=2)
        self.pyramid = DAPPM(16 * w, variant.pyramid, 4 * w)

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Height and width divided by 8, both maps."""
        context = self.stage_3(F.relu(self.stage_2(self.stem(images_BCHW))))
        detail = context
        for low, high, fuse in zip(self.context_4, self.detail_4, self.fusion_4, strict=True):
            context, detail = fuse(low(F.relu(context)), high(F.relu(detail)))
        after_4 = detail
        context, detail = self.context_5(F.relu(context)), self.detail_5(F.relu(detail))
        context, detail = self.fusion_5(context, detail)
        detail = self.detail_6(F.relu(detail))
        context = self.pyramid(self.context_6(F.relu(context)))
        return [images_BCHW, after_4, detail + _resized(context, detail)]


class BilateralFusion(nn.Module):
    """Both branches plus what the other says, brought to their size and channels (fig. 4)."""

    def __init__(self, *, detail: int, context: int, num_halvings: int) -> None:
        """Down: 3x3 convolutions of stride 2; up: 1x1 convolution, then bilinear."""
        super().__init__()
        self.up = nn.Sequential(*_conv_norm(context, detail, 1))
        down: list[nn.Module] = []
        width = detail
        for index in range(num_halvings):
            last = index + 1 == num_halvings
            wider = context if last else 2 * width
            down += _conv_norm(width, wider, 3, 2) if last else _conv_norm_relu(width, wider, 2)
            width = wider
        self.down = nn.Sequential(*down)

    def forward(self, context: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
        """(context, detail) before their activations."""
        raised = _resized(self.up(F.relu(context)), detail)
        return context + self.down(F.relu(detail)), detail + raised


class DAPPM(nn.Module):
    """Deep Aggregation Pyramid Pooling: ever wider pools, each added to the one before (eq. 2)."""

    POOLS = ((5, 2), (9, 4), (17, 8))  # kernel and stride in pixels of the deepest map

    def __init__(self, channels: int, branch: int, out: int) -> None:
        """`channels` in, `branch` in each of the five branches, `out` out."""
        super().__init__()
        self.scales = nn.ModuleList(_norm_relu_conv(channels, branch, 1) for _ in range(5))
        self.merges = nn.ModuleList(_norm_relu_conv(branch, branch, 3) for _ in range(4))
        self.compress = _norm_relu_conv(5 * branch, out, 1)
        self.shortcut = _norm_relu_conv(channels, out, 1)

    def forward(self, deepest_BCHW: Tensor) -> Tensor:
        """The same height and width."""
        first, *scales = self.scales
        found = [first(deepest_BCHW)]
        for pooled, scale, merge in zip(
            self._pooled(deepest_BCHW), scales, self.merges, strict=True
        ):
            found.append(merge(_resized(scale(pooled), deepest_BCHW) + found[-1]))
        return self.compress(torch.cat(found, dim=1)) + self.shortcut(deepest_BCHW)

    def _pooled(self, deepest_BCHW: Tensor) -> Iterator[Tensor]:
        for kernel, stride in self.POOLS:
            yield F.avg_pool2d(deepest_BCHW, kernel, stride, padding=kernel // 2)
        yield deepest_BCHW.mean(dim=(2, 3), keepdim=True)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the last activation is left to whoever reads."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        """He et al. 2016."""
        super().__init__()
        self.body = nn.Sequential(*_conv_norm_relu(channels, out, stride), *_conv_norm(out, out, 3))
        self.shortcut = _shortcut(channels, out, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Without ReLU."""
        return self.body(features) + self.shortcut(features)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions to twice the channels, and a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        """He et al. 2016, with an expansion of 2."""
        super().__init__()
        out = 2 * width
        self.body = nn.Sequential(
            *_conv_norm(channels, width, 1),
            nn.ReLU(inplace=True),
            *_conv_norm_relu(width, width, stride),
            *_conv_norm(width, out, 1),
        )
        self.shortcut = _shortcut(channels, out, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Without ReLU."""
        return self.body(features) + self.shortcut(features)


class Trunk(nn.Module):
    """3x3 convolution on the deepest map; norm and activation before and after it."""

    def __init__(self, channels: int, width: int) -> None:
        """`channels` in, `width` out, at the features' size."""
        super().__init__()
        self.body = nn.Sequential(
            _norm_relu_conv(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """What the last convolution reads."""
        return self.body(features[-1])


class DDRNetHead(nn.Sequential):
    """3x3 convolution, then logits, at the features' size."""

    def __init__(self, channels: int, width: int, num_classes: int) -> None:
        """Norm and activation come before each convolution."""
        super().__init__(
            _norm_relu_conv(channels, width, 3),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, num_classes, 1),
        )


def _stage(channels: int, out: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    """Residual blocks with activations between them, none behind the last."""
    layers: list[nn.Module] = [BasicBlock(channels, out, stride)]
    for _ in range(num_blocks - 1):
        layers += [nn.ReLU(), BasicBlock(out, out, 1)]
    return nn.Sequential(*layers)


def _shortcut(channels: int, out: int, stride: int) -> nn.Module:
    if channels == out and stride == 1:
        return nn.Identity()
    return nn.Sequential(*_conv_norm(channels, out, 1, stride))


def _conv_norm(channels: int, out: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(out)]


def _conv_norm_relu(channels: int, out: int, stride: int) -> list[nn.Module]:
    return [*_conv_norm(channels, out, 3, stride), nn.ReLU(inplace=True)]


def _norm_relu_conv(channels: int, out: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True), convolution)


def _resized(features: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(features, like.shape[-2:], mode="bilinear", align_corners=False)
