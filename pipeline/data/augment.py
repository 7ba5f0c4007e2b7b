"""Weak and strong views of images, boxes and normalisation; every draw is the generator's.

Shape suffixes: B images, C channels, H height, W width. Values are drawn on the generator's
device (the CPU), so a seed gives the same views wherever the images lie.
Recipe: the weak and strong augmentation of UniMatch (Yang et al. 2023) and CutMix for
segmentation (French et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from pipeline.config.network import Normalisation
from pipeline.types import IGNORE

SCALE_RANGE = (0.5, 2.0)  # of the long side, ratio kept
FLIP_PROBABILITY = 0.5
JITTER_PROBABILITY = 0.8
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.5, 0.5, 0.5, 0.25  # half-widths; hue in turns
GREY_PROBABILITY = 0.2
BLUR_PROBABILITY = 0.5
BLUR_SIGMA_PX = (0.1, 2.0)
BLUR_RADIUS_PX = 6  # three of the largest sigma: less than 0.3 % of the weight lies outside
CUTMIX_AREA = (0.02, 0.4)  # share of the image
CUTMIX_ASPECT = (0.3, 1 / 0.3)  # height / width
BOX_TRIES = 1000
PIXELS_AT_ONCE = 1 << 22  # of a mask
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
NORMALISATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # x / 127.5 - 1
}


def weak_view(
    image_CHW: torch.Tensor,
    mask_HW: torch.Tensor | None,
    generator: torch.Generator,
    *,
    size: tuple[int, int],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image, mask and validity after one random rescale, crop to `size` and flip, all aligned.

    Takes uint8 CHW and uint8 HW of any size; without a mask the result is all IGNORE. Where the
    rescaled image is smaller than `size` it is padded bottom and right: image 0, mask IGNORE, valid
    False. A crop in which nothing is labelled is moved to where something is, if anything is.
    """
    scale, top, left, flip = torch.rand(4, generator=generator).tolist()
    scale = SCALE_RANGE[0] + scale * (SCALE_RANGE[1] - SCALE_RANGE[0])
    sides = (image_CHW.shape[1], image_CHW.shape[2])
    # Cut out first, then rescaled: of a photograph of ten megapixels a crop needs one percent.
    whole = [max(1, round(side / scale)) for side in size]
    cut = [min(sides[i], whole[i]) for i in range(2)]
    first = [_offset(place, sides[i] - cut[i]) for i, place in enumerate((top, left))]
    if mask_HW is not None:
        first = _with_a_label(mask_HW, first, cut, generator)
    scaled = [
        size[i] if cut[i] == whole[i] else min(size[i], max(1, round(cut[i] * scale)))
        for i in range(2)
    ]
    mirrored = flip < FLIP_PROBABILITY

    def window(pixels_CHW: torch.Tensor) -> torch.Tensor:
        return pixels_CHW[None, :, first[0] : first[0] + cut[0], first[1] : first[1] + cut[1]]

    def fit(pixels_CHW: torch.Tensor, fill: int) -> torch.Tensor:
        fitted = F.pad(pixels_CHW, (0, size[1] - scaled[1], 0, size[0] - scaled[0]), value=fill)
        return fitted.flip(-1) if mirrored else fitted

    image = fit(F.interpolate(window(image_CHW), scaled, mode="bilinear", antialias=True)[0], 0)
    valid = fit(torch.ones((1, *scaled), dtype=torch.bool), 0)[0]
    if mask_HW is None:
        return image, torch.full(size, IGNORE, dtype=torch.uint8), valid
    nearest = F.interpolate(window(mask_HW[None]), scaled, mode="nearest-exact")[0]
    return image, fit(nearest, IGNORE)[0], valid


def _with_a_label(
    mask_HW: torch.Tensor, first: list[int], cut: list[int], generator: torch.Generator
) -> list[int]:
    """The crop's first row and column, so that it has a labelled pixel wherever the mask has one.

    Where people were asked for regions, most crops of a large image would teach nothing.
    """
    inside = mask_HW[first[0] : first[0] + cut[0], first[1] : first[1] + cut[1]]
    if (inside != IGNORE).any() or not (count := int(torch.count_nonzero(mask_HW != IGNORE))):
        return first
    pick, above, before = torch.rand(3, generator=generator).tolist()
    pixel = _labelled_pixel(mask_HW, int(pick * count))
    wished = [pixel[i] - int(share * cut[i]) for i, share in enumerate((above, before))]
    return [min(max(0, wished[i]), mask_HW.shape[i] - cut[i]) for i in range(2)]


def _labelled_pixel(mask_HW: torch.Tensor, number: int) -> list[int]:
    """Row and column of the labelled pixel of this number in reading order.

    Some rows at a time: the places of all take 16 bytes a pixel.
    """
    step = max(1, PIXELS_AT_ONCE // mask_HW.shape[1])
    for first in range(0, len(mask_HW), step):
        labelled = (mask_HW[first : first + step] != IGNORE).nonzero()
        if number < len(labelled):
            row, column = labelled[number].tolist()
            return [first + row, column]
        number -= len(labelled)
    raise ValueError(f"{number} more labelled pixels are wanted than there are")


def middle_view(pixels_CHW: torch.Tensor, size: tuple[int, int], *, fill: int = 0) -> torch.Tensor:
    """The middle of an image at `size`, for looks that need not see all of it.

    What is smaller is padded bottom and right with `fill`.
    """
    height, width = pixels_CHW.shape[-2:]
    top, left = max(0, height - size[0]) // 2, max(0, width - size[1]) // 2
    cut = pixels_CHW[..., top : top + size[0], left : left + size[1]]
    return F.pad(cut, (0, size[1] - cut.shape[-1], 0, size[0] - cut.shape[-2]), value=fill)


def _offset(place: float, room: int) -> int:
    """Whole offset in 0..room, uniform for `place` uniform in [0, 1); 0 without room."""
    return int(place * (room + 1)) if room > 0 else 0


def strong_view(images_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Colour jitter, greyscale and blur, drawn for each image; float RGB in [0, 1], same shape.

    No geometry: a pixel keeps its place, so the weak view's pseudo-label stays true.
    """
    views = images_BCHW.clone()
    draws = torch.rand(3, len(views), generator=generator).to(views.device)
    jittered = draws[0] < JITTER_PROBABILITY
    # Drawn for all, used for some: the draws of one image do not hang on those of another.
    jitter = _draw_jitter(len(views), generator).to(views.device)
    order = torch.randperm(len(JITTERS), generator=generator).tolist()
    if jittered.any():
        views[jittered] = _colour_jitter(views[jittered], jitter[:, jittered], order)
    grey = draws[1] < GREY_PROBABILITY
    views[grey] = luma(views[grey]).expand(-1, 3, -1, -1)
    low, high = BLUR_SIGMA_PX
    sigmas = low + torch.rand(len(views), generator=generator).to(views.device) * (high - low)
    blurred = draws[2] < BLUR_PROBABILITY
    if blurred.any():
        views[blurred] = gaussian_blur(views[blurred], sigmas[blurred])
    return views


def _draw_jitter(batch: int, generator: torch.Generator) -> torch.Tensor:
    """4xB: factors of brightness, contrast, saturation around 1; turn of hue around 0."""
    half = torch.tensor([BRIGHTNESS, CONTRAST, SATURATION, HUE])[:, None]
    centre = torch.tensor([1.0, 1.0, 1.0, 0.0])[:, None]
    return centre + half * (2 * torch.rand(4, batch, generator=generator) - 1)


def _colour_jitter(
    images_BCHW: torch.Tensor, jitter: torch.Tensor, order: list[int]
) -> torch.Tensor:
    for which in order:
        images_BCHW = JITTERS[which](images_BCHW, jitter[which][:, None, None, None])
    return images_BCHW


def luma(images_BCHW: torch.Tensor) -> torch.Tensor:
    """Grey values B1HW."""
    weights = torch.tensor(LUMA, device=images_BCHW.device)
    return torch.einsum("bchw,c->bhw", images_BCHW, weights)[:, None]


def _brighten(images_BCHW: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return (images_BCHW * factor).clamp_(0, 1)


def _contrast(images_BCHW: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    mean = luma(images_BCHW).mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean.expand_as(images_BCHW), images_BCHW, factor).clamp_(0, 1)


def _saturate(images_BCHW: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    grey = luma(images_BCHW).expand_as(images_BCHW)
    return torch.lerp(grey, images_BCHW, factor).clamp_(0, 1)


def turn_hue(images_BCHW: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Hue in HSV turned by `turn` (1 = once round); saturation and value stay.

    `turn` broadcasts over the images. HSV to RGB by one formula for all three channels:
    f(n) = value - chroma * clamp(min(k, 4 - k), 0, 1), k = (n + 6 hue) mod 6, n = 5, 3, 1.
    """
    red, green, blue = images_BCHW.unbind(1)
    value = images_BCHW.amax(1)
    chroma = value - images_BCHW.amin(1)
    safe = chroma.clamp(min=1e-8)  # grey has no hue; with chroma 0 any hue gives grey back
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sextant = (hue + 6 * turn.squeeze(1))[:, None]
    n = torch.tensor([5.0, 3.0, 1.0], device=images_BCHW.device)[None, :, None, None]
    k = torch.remainder(sextant + n, 6)
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp_(0, 1)


# Not torchvision's functions, which take one number for all images: image by image a strong view
# takes 1.2 to 1.4 times as long, hue and blur in it 1.4 to 3.1 times (benchmarks/results/
# augmentations.md). Its contrast and saturation are quicker, but their grey has weights of four
# digits: 5e-5 off, which would change what every seed trains.
JITTERS: tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor], ...] = (
    _brighten,
    _contrast,
    _saturate,
    turn_hue,
)


def gaussian_blur(images_BCHW: torch.Tensor, sigmas_B: torch.Tensor) -> torch.Tensor:
    """Each image blurred by its own sigma in pixels; borders reflected, the mean nearly kept."""
    batch, channels, height, width = images_BCHW.shape
    radius = min(BLUR_RADIUS_PX, height - 1, width - 1)
    steps = torch.arange(-radius, radius + 1, device=images_BCHW.device, dtype=images_BCHW.dtype)
    kernels = torch.exp(-0.5 * (steps / sigmas_B[:, None].to(steps.dtype)) ** 2)
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    rows = images_BCHW.reshape(1, batch * channels, height, width)
    rows = F.pad(rows, (radius,) * 4, mode="reflect")
    rows = F.conv2d(rows, kernels[:, :, None, :], groups=batch * channels)
    rows = F.conv2d(rows, kernels[:, :, :, None], groups=batch * channels)
    return rows.reshape(images_BCHW.shape)


def normalise(images: torch.Tensor, kind: Normalisation) -> torch.Tensor:
    """What the encoder was trained on, from uint8 or from float in [0, 1]; shape (B)CHW.

    ValueError for `auto`: it is to be replaced before (pipeline.models.settled).
    """
    if kind == "auto":
        raise ValueError("normalisation: auto; take that of pipeline.models.settled(params)")
    pixels = images.float() / 255 if images.dtype == torch.uint8 else images
    mean, std = _statistics(kind, pixels)
    return (pixels - mean) / std


def denormalise(images: torch.Tensor, kind: Normalisation) -> torch.Tensor:
    """Float RGB in [0, 1] of what `normalise` gave; shape (B)CHW."""
    mean, std = _statistics(kind, images)
    return (images * std + mean).clamp(0, 1)


def _statistics(kind: Normalisation, like: torch.Tensor) -> list[torch.Tensor]:
    """Mean and standard deviation, C11 each."""
    return [
        torch.tensor(values, device=like.device, dtype=like.dtype)[:, None, None]
        for values in NORMALISATIONS[kind]
    ]


def random_boxes(
    generator: torch.Generator, batch: int, height: int, width: int, probability: float
) -> torch.Tensor:
    """Boolean BHW: True in one box per image, with `probability`; else False everywhere.

    Area, aspect and place are uniform in their ranges; of a box that does not fit, aspect and place
    are drawn again.
    """
    mask_BHW = torch.zeros((batch, height, width), dtype=torch.bool)
    for index in range(batch):
        if torch.rand((), generator=generator).item() < probability:
            top, left, box_height, box_width = _draw_box(generator, height, width)
            mask_BHW[index, top : top + box_height, left : left + box_width] = True
    return mask_BHW


def _draw_box(generator: torch.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    share = torch.rand((), generator=generator).item()
    area = (CUTMIX_AREA[0] + share * (CUTMIX_AREA[1] - CUTMIX_AREA[0])) * height * width
    for _ in range(BOX_TRIES):
        aspect, top, left = torch.rand(3, generator=generator).tolist()
        aspect = CUTMIX_ASPECT[0] + aspect * (CUTMIX_ASPECT[1] - CUTMIX_ASPECT[0])
        box_height = max(1, int(math.sqrt(area * aspect)))
        box_width = max(1, int(math.sqrt(area / aspect)))
        first, before = int(top * height), int(left * width)
        if first + box_height <= height and before + box_width <= width:
            return first, before, box_height, box_width
    # An image ten times as long as high has room for no such box: its height, and what is left.
    box_height, box_width = min(height, box_height), min(width, box_width)
    return 0, _offset(left, width - box_width), box_height, box_width
