"""What can be exchanged in a ViT: how patches become tokens and how a token knows its place.

B images, C channels, H height, W width, h and w the same in patches, D channels of a token.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

DINOV2_OFFSET = 0.1  # added to the new size before the scale is taken, in DINOv2's code
BASE = 10_000.0  # wavelengths run from 2 pi to this times 2 pi


def sincos_1d(height: int, width: int, channels: int) -> Tensor:
    """positions_hwD of tokens counted row by row (Vaswani et al. 2017, section 3.5).

    Channel 2i is sin(n / BASE^(2i/D)), channel 2i+1 the cosine. D must be even.
    """
    number_N = torch.arange(height * width, dtype=torch.float64)
    angles_ND = _angles(number_N, channels // 2, channels / 2)
    return (
        torch.stack([angles_ND.sin(), angles_ND.cos()], dim=-1)
        .reshape(height, width, channels)
        .float()
    )


def sincos_2d(height: int, width: int, channels: int) -> Tensor:
    """positions_hwD: sin and cos of the column, then of the row (Beyer et al. 2022, and code).

    A quarter of the channels each, angles x / BASE^(i/(D/4 - 1)). D must be divisible by 4.
    """
    return _of_both_sides(height, width, channels, channels // 4 - 1)


def sincos_2d_mae(height: int, width: int, channels: int) -> Tensor:
    """The same with angles x / BASE^(i/(D/4)), as in the code of MAE (He et al. 2022)."""
    return _of_both_sides(height, width, channels, channels // 4)


def _of_both_sides(height: int, width: int, channels: int, denominator: int) -> Tensor:
    quarter = channels // 4
    rows_h = _angles(torch.arange(height, dtype=torch.float64), quarter, denominator)
    columns_w = _angles(torch.arange(width, dtype=torch.float64), quarter, denominator)
    rows_hw = rows_h[:, None].expand(height, width, quarter)
    columns_hw = columns_w[None].expand(height, width, quarter)
    parts = [columns_hw.sin(), columns_hw.cos(), rows_hw.sin(), rows_hw.cos()]
    return torch.cat(parts, dim=-1).float()


SINCOS = {"sincos_1d": sincos_1d, "sincos_2d": sincos_2d, "sincos_2d_mae": sincos_2d_mae}


def _angles(places_N: Tensor, num: int, denominator: float) -> Tensor:
    """places / BASE^(i/denominator) for i < num; a single frequency is 1."""
    exponents = torch.arange(num, dtype=torch.float64) / max(denominator, 1)
    return places_N[:, None] * BASE**-exponents


class DINOv2Positions(VisionTransformer):
    """timm's ViT, with its table of positions brought to other sizes as DINOv2's code does.

    Bicubic, without antialias, at the scale (side + .1) / side of the table; timm antialiases. A
    table of the image's own size is taken as it is. For encoders with a class token in the table
    and no registers.
    """

    def _pos_embed(self, tokens_BhwD: Tensor) -> Tensor:
        """tokens_BND with their places, the class token first."""
        network: Any = self
        table_1ND, new = network.pos_embed, tokens_BhwD.shape[1:3]
        old = network.patch_embed.grid_size
        if tuple(new) != tuple(old):
            patches_1Dhw = table_1ND[:, 1:].unflatten(1, old).movedim(-1, 1).float()
            scale = [(side + DINOV2_OFFSET) / was for side, was in zip(new, old, strict=True)]
            resized = F.interpolate(patches_1Dhw, scale_factor=scale, mode="bicubic")
            patches_1ND = resized.flatten(2).movedim(1, -1).to(table_1ND)
            table_1ND = torch.cat([table_1ND[:, :1], patches_1ND], dim=1)
        token_B1D = network.cls_token.expand(len(tokens_BhwD), -1, -1)
        placed: Tensor = torch.cat([token_B1D, tokens_BhwD.flatten(1, 2)], dim=1) + table_1ND
        dropped: Tensor = network.pos_drop(placed)
        return dropped


class FixedPositions(nn.Module):
    """tokens_BhwD plus positions that a formula gives, at any h and w; nothing to learn."""

    def __init__(self, kind: str) -> None:
        """`kind` is a row of SINCOS."""
        super().__init__()
        self.kind = kind

    def forward(self, tokens_BhwD: Tensor) -> Tensor:
        """The same shape."""
        positions_hwD = SINCOS[self.kind](*tokens_BhwD.shape[1:])
        return tokens_BhwD + positions_hwD.to(tokens_BhwD)


class ConvolutionalStem(nn.Sequential):
    """images_BCHW to tokens_BDhw by convolutions (Xiao et al. 2021, "Early Convolutions").

    One for each prime factor of the patch's side, with that stride, batch norm and ReLU behind it:
    3x3 for 2, else as large as the stride. Channels double up to D; 1x1 at the end.
    """

    def __init__(self, patch_px: int, channels: int) -> None:
        """Patches of `patch_px` x `patch_px` pixels, D = `channels`."""
        factors = prime_factors(patch_px)
        layers: list[nn.Module] = []
        wide = 3
        for index, factor in enumerate(factors):
            out = max(8, channels // 2 ** (len(factors) - 1 - index))
            kernel, padding = (3, 1) if factor == 2 else (factor, 0)
            layers += [
                nn.Conv2d(wide, out, kernel, stride=factor, padding=padding, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(inplace=True),
            ]
            wide = out
        super().__init__(*layers, nn.Conv2d(wide, channels, 1))


def prime_factors(number: int) -> list[int]:
    """In rising order: 14 = 2 * 7."""
    found, factor = [], 2
    while number > 1:
        if number % factor:
            factor += 1
        else:
            found.append(factor)
            number //= factor
    return found
