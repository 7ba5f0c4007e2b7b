"""Random-intensity views (AugSeg, Zhao et al. 2023): few operations, of strengths without steps.

Each image gets 1 to 3 of OPERATIONS with replacement, all equally likely, each with a strength of
its own. Operations keep every pixel's place. Values are drawn on the generator's device (the CPU).
B images, C channels, H height, W width; float RGB in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.data.augment import BLUR_SIGMA_PX, gaussian_blur, luma, turn_hue

MAX_OPERATIONS = 3
FACTOR = (0.05, 0.95)  # of contrast, brightness, colour, sharpness; 1 = the image as it is
MAX_HUE_TURN = 0.5
POSTERISE_BITS = (4, 8)  # 8 = the image as it is
LEVELS = 256

Operation = Callable[[Tensor, Tensor], Tensor]
"""(images_BCHW, strengths_B in [0, 1)) -> images_BCHW; each image for itself."""


def random_intensity_view(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """The images after their operations; float RGB in [0, 1], same shape."""
    batch, device = len(images_BCHW), images_BCHW.device
    counts = torch.randint(1, MAX_OPERATIONS + 1, (batch,), generator=generator)
    chosen = torch.randint(len(OPERATIONS), (MAX_OPERATIONS, batch), generator=generator)
    strengths = torch.rand(MAX_OPERATIONS, batch, generator=generator)
    views = images_BCHW.clone()
    for place in range(MAX_OPERATIONS):
        for number, operation in enumerate(OPERATIONS.values()):
            taken = (chosen[place] == number) & (place < counts)
            if taken.any():
                mine = taken.to(device)
                views[mine] = operation(views[mine], strengths[place][taken].to(device))
    return views


def identity(images_BCHW: Tensor, _strengths_B: Tensor) -> Tensor:
    """The images as they are."""
    return images_BCHW


def autocontrast(images_BCHW: Tensor, _strengths_B: Tensor) -> Tensor:
    """Every channel stretched to 0..1; a channel of one value stays."""
    low, high = (end((2, 3), keepdim=True) for end in (images_BCHW.amin, images_BCHW.amax))
    room = high - low
    return torch.where(room > 0, (images_BCHW - low) / room.clamp(min=1e-8), images_BCHW)


def equalise(images_BCHW: Tensor, _strengths_B: Tensor) -> Tensor:
    """Every channel's histogram flattened, in 256 levels as in PIL."""
    shape = images_BCHW.shape
    levels_NP = (images_BCHW.reshape(shape[0] * shape[1], -1) * (LEVELS - 1)).round().long()
    counts_NL = levels_NP.new_zeros(len(levels_NP), LEVELS)
    counts_NL.scatter_add_(1, levels_NP, torch.ones_like(levels_NP))
    sums_NL = counts_NL.cumsum(1)
    last_N = counts_NL.gather(1, levels_NP.amax(1, keepdim=True))
    step_N = (sums_NL[:, -1:] - last_N) // (LEVELS - 1)
    below_NL = sums_NL - counts_NL
    table_NL = (below_NL + step_N // 2) // step_N.clamp(min=1)
    found_NP = table_NL.clamp(0, LEVELS - 1).gather(1, levels_NP)
    found = (found_NP.to(images_BCHW.dtype) / (LEVELS - 1)).reshape(shape)
    # Fewer than 255 pixels outside of the brightest level: nothing to flatten.
    return torch.where(step_N.reshape(*shape[:2], 1, 1) > 0, found, images_BCHW)


def blur(images_BCHW: Tensor, strengths_B: Tensor) -> Tensor:
    """Gaussian, sigma .1 to 2 pixels."""
    return gaussian_blur(images_BCHW, _between(BLUR_SIGMA_PX, strengths_B))


def contrast(images_BCHW: Tensor, strengths_B: Tensor) -> Tensor:
    """Towards the image's mean grey."""
    mean = luma(images_BCHW).mean(dim=(2, 3), keepdim=True)
    return _blend(mean, images_BCHW, strengths_B)


def brightness(images_BCHW: Tensor, strengths_B: Tensor) -> Tensor:
    """Towards black."""
    return _blend(torch.zeros_like(images_BCHW), images_BCHW, strengths_B)


def colour(images_BCHW: Tensor, strengths_B: Tensor) -> Tensor:
    """Towards grey."""
    return _blend(luma(images_BCHW), images_BCHW, strengths_B)


def sharpness(images_BCHW: Tensor, strengths_B: Tensor) -> Tensor:
    """Towards the image smoothed by (1 1 1; 1 5 1; 1 1 1) / 13; the outermost pixels stay."""
    kernel = torch.ones(3, 3, device=images_BCHW.device, dtype=images_BCHW.dtype)
    kernel[1, 1] = 5.0
    kernels = (kernel / kernel.sum()).expand(images_BCHW.shape[1], 1, 3, 3)
    smooth = images_BCHW.clone()
    smooth[..., 1:-1, 1:-1] = F.conv2d(images_BCHW, kernels, groups=images_BCHW.shape[1])
    return _blend(smooth, images_BCHW, strengths_B)


def posterise(images_BCHW: Tensor, strengths_B: Tensor) -> Tensor:
    """Only the highest 4 to 8 bits of every value."""
    low, high = POSTERISE_BITS
    bits = low + (strengths_B * (high - low + 1)).floor()
    step = _column(2.0 ** (8 - bits))
    levels = (images_BCHW * (LEVELS - 1)).round()
    return (levels / step).floor() * step / (LEVELS - 1)


def solarise(images_BCHW: Tensor, strengths_B: Tensor) -> Tensor:
    """Values from a threshold in [0, 1) on turned into their opposites."""
    return torch.where(images_BCHW >= _column(strengths_B), 1 - images_BCHW, images_BCHW)


def hue(images_BCHW: Tensor, strengths_B: Tensor) -> Tensor:
    """Turned by up to half a turn in either direction."""
    return turn_hue(images_BCHW, _column(_between((-MAX_HUE_TURN, MAX_HUE_TURN), strengths_B)))


OPERATIONS: dict[str, Operation] = {
    "identity": identity,
    "autocontrast": autocontrast,
    "equalise": equalise,
    "blur": blur,
    "contrast": contrast,
    "brightness": brightness,
    "colour": colour,
    "sharpness": sharpness,
    "posterise": posterise,
    "solarise": solarise,
    "hue": hue,
}


def _blend(other: Tensor, images_BCHW: Tensor, strengths_B: Tensor) -> Tensor:
    factor = _column(_between(FACTOR, strengths_B))
    return torch.lerp(other.expand_as(images_BCHW), images_BCHW, factor)


def _between(ends: tuple[float, float], strengths_B: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * strengths_B


def _column(values_B: Tensor) -> Tensor:
    return values_B[:, None, None, None]
