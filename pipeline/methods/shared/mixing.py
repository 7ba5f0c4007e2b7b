"""Mixing two unlabelled images into one: which pixel of a strong view comes from where.

A mix = one function and one row in MIXES: (view, pseudo_BHW, num_classes) -> Mix. The partner of
image i is image i - 1 of the batch, so that no image is its own partner. Pixels and what is said
about them are moved by the same Mix. `pseudo_BHW` holds the teacher's classes of the unmixed
images, IGNORE where the view is padding; an image whose draw says so (`view.mixed_B`) is mixed.
B images, C channels, K classes, G blocks of an image, N pixels of an image, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from pipeline.methods.shared.protocol import StrongView
from pipeline.types import IGNORE

Rounding = Literal["down", "up", "random"]
COMPLEXMIX_GRID = (2, 8)  # blocks along a side; the paper's complexities are 4, 16 and 64 blocks


class Mix(NamedTuple):
    """Where the pixels of each image of a batch come from."""

    foreign_BHW: Tensor
    """True where the pixel is the partner's."""
    erased_BHW: Tensor
    """True where nothing is left to see."""

    def moved(self, values: Tensor) -> Tensor:
        """`values` (BHW or BCHW) moved with the pixels."""
        mask = self.foreign_BHW if values.ndim == 3 else self.foreign_BHW[:, None]
        return torch.where(mask, partners(values), values)

    def images(self, images_BCHW: Tensor) -> Tensor:
        """Normalised images mixed; what is erased becomes 0, about the mean colour."""
        return self.moved(images_BCHW).masked_fill(self.erased_BHW[:, None], 0.0)

    def valid(self, valid_BHW: Tensor) -> Tensor:
        """Validity moved with the pixels; nothing is learnt where nothing is left to see."""
        return self.moved(valid_BHW) & ~self.erased_BHW


MixRule = Callable[[StrongView, Tensor, int], Mix]


def partners(values: Tensor) -> Tensor:
    """For each of a batch what its partner has."""
    return values.roll(1, 0)


def no_mix(view: StrongView, _pseudo_BHW: Tensor, _num_classes: int) -> Mix:
    """Every image as it is."""
    nothing = torch.zeros_like(view.boxes_BHW)
    return Mix(nothing, nothing)


def cutmix(view: StrongView, _pseudo_BHW: Tensor, _num_classes: int) -> Mix:
    """A box of the partner (French et al. 2020; boxes as in UniMatch, Yang et al. 2023)."""
    return Mix(view.boxes_BHW, torch.zeros_like(view.boxes_BHW))


def cutout(view: StrongView, _pseudo_BHW: Tensor, _num_classes: int) -> Mix:
    """A box erased; nothing is learnt inside it (French et al. 2020)."""
    return Mix(torch.zeros_like(view.boxes_BHW), view.boxes_BHW)


def classmix(view: StrongView, pseudo_BHW: Tensor, num_classes: int) -> Mix:
    """Half of the partner's classes, cut out along their edges (Olsson et al. 2021)."""
    return _pasted(view, half_of_classes(pseudo_BHW, num_classes))


def complexmix(view: StrongView, pseudo_BHW: Tensor, num_classes: int) -> Mix:
    """ClassMix in each block of a grid of its own, 2x2 to 8x8 blocks drawn (Chen et al. 2021).

    Half of an odd number of classes is rounded up or down at random: most small blocks hold one
    class, which would never be pasted.
    """
    low, high = COMPLEXMIX_GRID
    grid = int(torch.randint(low, high + 1, ()))
    return _pasted(view, half_of_classes(pseudo_BHW, num_classes, "random", grid=grid))


def _pasted(view: StrongView, chosen_BHW: Tensor) -> Mix:
    """Each partner's chosen pixels, in the images that are to be mixed."""
    foreign_BHW = partners(chosen_BHW) & view.mixed_B[:, None, None]
    return Mix(foreign_BHW, torch.zeros_like(foreign_BHW))


MIXES: dict[str, MixRule] = {
    "none": no_mix,
    "cutmix": cutmix,
    "cutout": cutout,
    "classmix": classmix,
    "complexmix": complexmix,
}


def half_of_classes(
    classes_BHW: Tensor, num_classes: int, rounded: Rounding = "down", *, grid: int = 1
) -> Tensor:
    """True where the pixel's class is among n/2 drawn of the n classes of its image.

    With a grid of grid x grid blocks, each block has its own classes and its own draw. Half of an
    odd n is `rounded`, at random where it says so. IGNORE counts as no class and is never drawn.
    """
    num_slots = num_classes + 1  # the last is IGNORE's
    slots_BHW = torch.where(classes_BHW == IGNORE, num_classes, classes_BHW)
    places_BN = (_blocks(classes_BHW, grid) * num_slots + slots_BHW).flatten(1)
    present = places_BN.new_zeros(len(places_BN), grid * grid * num_slots, dtype=torch.bool)
    present_BGK = present.scatter_(1, places_BN, True).view(-1, grid * grid, num_slots)
    present_BGK[..., num_classes] = False
    scores_BGK = torch.rand(present_BGK.shape, device=places_BN.device)
    ranks_BGK = scores_BGK.masked_fill(~present_BGK, 2.0).argsort(-1).argsort(-1)
    num_present_BG = present_BGK.sum(-1)
    if rounded == "random":
        num_present_BG = num_present_BG + torch.randint_like(num_present_BG, 2)
    elif rounded == "up":
        num_present_BG = num_present_BG + 1
    drawn_BGK = ranks_BGK < (num_present_BG // 2)[..., None]
    return drawn_BGK.flatten(1).gather(1, places_BN).view_as(classes_BHW)


def _blocks(like_BHW: Tensor, grid: int) -> Tensor:
    """Number of each pixel's block, HW; sides that the grid does not divide give uneven blocks."""
    height, width = like_BHW.shape[-2:]
    rows_H = torch.arange(height, device=like_BHW.device) * grid // height
    columns_W = torch.arange(width, device=like_BHW.device) * grid // width
    return rows_H[:, None] * grid + columns_W
