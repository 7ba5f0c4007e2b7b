"""The same image in another light, colour, weather or focus: its mask stays true.

What happens to a model then can be measured on labelled images, before it happens on others.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from pipeline.data.augment import gaussian_blur, luma

SEED = 0  # of the noise: the same for every image


class Alteration(NamedTuple):
    """gain * x^gamma + lift on values in [0, 1], then blur, then noise; cut to [0, 1]."""

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of red, green and blue."""
    gamma: float = 1.0
    lift: float = 0.0
    blur: float = 0.0
    """Standard deviation, as a share of the height."""
    noise: float = 0.0
    """Standard deviation."""
    grey: bool = False


def _all(gain: float) -> tuple[float, float, float]:
    return gain, gain, gain


ALTERATIONS = {
    "half the light": Alteration(gain=_all(0.5)),
    "a third of the light": Alteration(gain=_all(0.3)),
    "darker shadows": Alteration(gamma=2.0),
    "lighter shadows": Alteration(gamma=0.5),
    "fog": Alteration(gain=_all(0.5), lift=0.45),
    "half the contrast": Alteration(gain=_all(0.5), lift=0.25),
    "warm light": Alteration(gain=(1.1, 0.85, 0.6)),
    "cold light": Alteration(gain=(0.6, 0.8, 1.1)),
    "without colour": Alteration(grey=True),
    "inverted": Alteration(gain=_all(-1.0), lift=1.0),
    "noise": Alteration(noise=0.06),
    "strong noise": Alteration(noise=0.12),
    "out of focus": Alteration(blur=0.01),
    "by night": Alteration(gain=_all(0.4), noise=0.03),
    "in the evening": Alteration(gain=(0.55, 0.45, 0.35), blur=0.005),
}


def altered(image_CHW: torch.Tensor, by: Alteration) -> torch.Tensor:
    """uint8 RGB in, uint8 RGB of the same size out; the same bits each time."""
    x_CHW = (image_CHW.float() / 255) ** by.gamma
    if by.grey:
        x_CHW = luma(x_CHW[None])[0].expand(3, -1, -1)
    x_CHW = torch.tensor(by.gain)[:, None, None] * x_CHW + by.lift
    if by.blur:
        sigma_1 = torch.tensor([by.blur * image_CHW.shape[1]])
        x_CHW = gaussian_blur(x_CHW.clamp(0, 1)[None], sigma_1)[0]
    if by.noise:
        generator = torch.Generator().manual_seed(SEED)
        x_CHW = x_CHW + by.noise * torch.randn(x_CHW.shape, generator=generator)
    return (x_CHW.clamp(0, 1) * 255).round().to(torch.uint8)
