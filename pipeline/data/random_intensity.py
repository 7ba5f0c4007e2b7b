"""Random-intensity views (AugSeg, Zhao et al. 2023): few operations, of strengths without steps.

Each image gets 1 to 3 of OPERATIONS with replacement, all equally likely, each with a strength of
its own. Operations keep every pixel's place. Values are drawn on the generator's device (the CPU).
B images, C channels, H height, W width; float RGB in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as T

from pipeline.data.augment import BLUR_SIGMA_PX, gaussian_blur, luma, turn_hue

MAX_OPERATIONS = 3
FACTOR = (0.05, 0.95)  # of contrast, brightness, colour, sharpness; 1 = the image as it is
MAX_HUE_TURN = 0.5
POSTERISE_BITS = (4, 7)
HIGHEST = 255  # of a byte

Operation = Callable[[Tensor, float], Tensor]
"""(image_CHW, strength in [0, 1)) -> image_CHW."""


def random_intensity_view(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """The images after their operations; float RGB in [0, 1], same shape."""
    batch, operations = len(images_BCHW), list(OPERATIONS.values())
    counts = torch.randint(1, MAX_OPERATIONS + 1, (batch,), generator=generator).tolist()
    shape = (MAX_OPERATIONS, batch)
    chosen = torch.randint(len(operations), shape, generator=generator).T.tolist()
    strengths = torch.rand(shape, generator=generator).T.tolist()
    views = []
    for view_CHW, count, numbers, own in zip(images_BCHW, counts, chosen, strengths, strict=True):
        for number, strength in zip(numbers[:count], own[:count], strict=True):
            view_CHW = operations[number](view_CHW, strength)
        views.append(view_CHW)
    return torch.stack(views)


def identity(image_CHW: Tensor, _strength: float) -> Tensor:
    """The image as it is."""
    return image_CHW


def autocontrast(image_CHW: Tensor, _strength: float) -> Tensor:
    """Every channel stretched to 0..1; a channel of one value stays."""
    return T.autocontrast(image_CHW)


def equalise(image_CHW: Tensor, _strength: float) -> Tensor:
    """Every channel's histogram flattened, in 256 levels as in PIL."""
    return T.equalize(_bytes(image_CHW)) / HIGHEST


def blur(image_CHW: Tensor, strength: float) -> Tensor:
    """Gaussian, sigma .1 to 2 pixels."""
    sigma = image_CHW.new_tensor([_between(BLUR_SIGMA_PX, strength)])
    return gaussian_blur(image_CHW[None], sigma)[0]


def contrast(image_CHW: Tensor, strength: float) -> Tensor:
    """Towards the image's mean grey."""
    return _blend(luma(image_CHW[None])[0].mean(), image_CHW, strength)


def brightness(image_CHW: Tensor, strength: float) -> Tensor:
    """Towards black."""
    return T.adjust_brightness(image_CHW, _between(FACTOR, strength))


def colour(image_CHW: Tensor, strength: float) -> Tensor:
    """Towards grey."""
    return _blend(luma(image_CHW[None])[0], image_CHW, strength)


def sharpness(image_CHW: Tensor, strength: float) -> Tensor:
    """Towards the image smoothed by (1 1 1; 1 5 1; 1 1 1) / 13; the outermost pixels stay."""
    return T.adjust_sharpness(image_CHW, _between(FACTOR, strength))


def posterise(image_CHW: Tensor, strength: float) -> Tensor:
    """Only the highest 4 to 7 bits of every value, all equally likely."""
    low, high = POSTERISE_BITS
    return T.posterize(_bytes(image_CHW), low + int(strength * (high - low + 1))) / HIGHEST


def solarise(image_CHW: Tensor, strength: float) -> Tensor:
    """Values from a threshold in [0, 1) on turned into their opposites."""
    return T.solarize(image_CHW, strength)


def hue(image_CHW: Tensor, strength: float) -> Tensor:
    """Turned by up to half a turn in either direction."""
    turn = image_CHW.new_tensor([_between((-MAX_HUE_TURN, MAX_HUE_TURN), strength)])
    return turn_hue(image_CHW[None], turn[:, None, None, None])[0]


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


def _bytes(image_CHW: Tensor) -> Tensor:
    return (image_CHW * HIGHEST).round().to(torch.uint8)


def _blend(other: Tensor, image_CHW: Tensor, strength: float) -> Tensor:
    """Not torchvision's: its grey has weights of four digits, and would be 1e-4 off."""
    return torch.lerp(other.expand_as(image_CHW), image_CHW, _between(FACTOR, strength))


def _between(ends: tuple[float, float], strength: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * strength
