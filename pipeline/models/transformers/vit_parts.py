"""What can be exchanged in a ViT: how patches become tokens and how a token knows its place.

B images, C channels, H height, W width, h and w the same in patches, D channels of a token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BASE = 10_000.0  # wavelengths run from 2 pi to this times 2 pi


def sincos_1d(height: int, width: int, channels: int) -> Tensor:
    """positions_hwD of tokens counted row by row (Vaswani et al. 2017, section 3.5).

    Channel 2i is sin(n / BASE^(2i/D)), channel 2i+1 the cosine. D must be even.
    """
    number_N = torch.arange(height * width, dtype=torch.float64)
    angles_ND = _angles(number_N, channels // 2)
    return (
        torch.stack([angles_ND.sin(), angles_ND.cos()], dim=-1)
        .reshape(height, width, channels)
        .float()
    )


def sincos_2d(height: int, width: int, channels: int) -> Tensor:
    """positions_hwD: sin and cos of the column, then of the row (Beyer et al. 2022).

    A quarter of the channels each, angles x / BASE^(i/(D/4)). D must be divisible by 4.
    """
    quarter = channels // 4
    rows_h = _angles(torch.arange(height, dtype=torch.float64), quarter)
    columns_w = _angles(torch.arange(width, dtype=torch.float64), quarter)
    rows_hw = rows_h[:, None].expand(height, width, quarter)
    columns_hw = columns_w[None].expand(height, width, quarter)
    parts = [columns_hw.sin(), columns_hw.cos(), rows_hw.sin(), rows_hw.cos()]
    return torch.cat(parts, dim=-1).float()


SINCOS = {"sincos_1d": sincos_1d, "sincos_2d": sincos_2d}


def _angles(places_N: Tensor, num: int) -> Tensor:
    frequencies = BASE ** (-torch.arange(num, dtype=torch.float64) / num)
    return places_N[:, None] * frequencies


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
