"""A random half of the classes of an image: what ClassMix pastes, what CCT takes for objects.

B images, K classes, G blocks of an image, N pixels of an image, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.types import IGNORE


def half_of_classes(
    classes_BHW: Tensor, num_classes: int, *, grid: int = 1, round_up_half: bool = False
) -> Tensor:
    """True where the pixel's class is among floor(n/2) drawn of the n classes of its image.

    With a grid of grid x grid blocks, each block has its own classes and its own draw. An odd n is
    rounded up half of the time if `round_up_half`. IGNORE counts as no class and is never drawn.
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
    if round_up_half:
        num_present_BG = num_present_BG + torch.randint_like(num_present_BG, 2)
    drawn_BGK = ranks_BGK < (num_present_BG // 2)[..., None]
    return drawn_BGK.flatten(1).gather(1, places_BN).view_as(classes_BHW)


def _blocks(like_BHW: Tensor, grid: int) -> Tensor:
    """Number of each pixel's block, HW; sides that the grid does not divide give uneven blocks."""
    height, width = like_BHW.shape[-2:]
    rows_H = torch.arange(height, device=like_BHW.device) * grid // height
    columns_W = torch.arange(width, device=like_BHW.device) * grid // width
    return rows_H[:, None] * grid + columns_W
