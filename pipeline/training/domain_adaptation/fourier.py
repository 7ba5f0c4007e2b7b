"""The style of one image in the content of another: low-frequency amplitudes exchanged (FDA).

Fourier Domain Adaptation, Yang & Soatto 2020. B images, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def with_style_of(source_BCHW: Tensor, style_BCHW: Tensor, beta: float) -> Tensor:
    """F^-1(M_beta |F(style)| + (1 - M_beta) |F(source)|, phase of F(source)), cut to [0, 1].

    Images of one size with values in [0, 1]. beta 0 leaves all but the mean of each channel.
    """
    height, width = source_BCHW.shape[-2:]
    source = torch.fft.fft2(source_BCHW)
    low_HW = low_frequencies(height, width, beta).to(source_BCHW.device)
    amplitude = torch.where(low_HW, torch.fft.fft2(style_BCHW).abs(), source.abs())
    mixed = torch.fft.ifft2(torch.polar(amplitude, source.angle())).real
    return mixed.clamp(0.0, 1.0)


def low_frequencies(height: int, width: int, beta: float) -> Tensor:
    """M_beta: True where both frequencies are at most beta of the shorter side; 0 comes first.

    A square, as in the authors' code; the paper's equation 2 takes beta of each side.
    """
    most = beta * min(height, width)
    rows_H = (torch.fft.fftfreq(height) * height).abs().round() <= most
    columns_W = (torch.fft.fftfreq(width) * width).abs().round() <= most
    return rows_H[:, None] & columns_W
