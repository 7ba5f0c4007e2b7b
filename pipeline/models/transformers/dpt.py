"""DPT (Ranftl et al. 2021, "Vision Transformers for Dense Prediction"): maps of a ViT, all at the
patches' resolution, become a pyramid that is fused from coarse to fine.

B images, D channels, h and w height and width in patches.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

NUM_MAPS = 4


class DPT(nn.Module):
    """[images, four maps_BDhw] to a representation of `width` channels at 8h x 8w.

    Without batch norm and with 1x1 convolutions of D/8, D/4, D/2 and D channels, as in UniMatch
    V2 (Yang et al. 2025). Unlike there bilinear resizing is on pixel areas (align_corners=False),
    as everywhere here: a transposed convolution's outputs tile the patch they come from.
    """

    def __init__(self, channels: int, width: int) -> None:
        """`channels` is D."""
        super().__init__()
        widths = [max(1, channels // share) for share in (8, 4, 2, 1)]
        self.project = nn.ModuleList(nn.Conv2d(channels, w, 1) for w in widths)
        self.resize = nn.ModuleList(
            [
                nn.ConvTranspose2d(widths[0], widths[0], 4, stride=4),
                nn.ConvTranspose2d(widths[1], widths[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(widths[3], widths[3], 3, stride=2, padding=1),
            ]
        )
        self.narrow = nn.ModuleList(nn.Conv2d(w, width, 3, padding=1, bias=False) for w in widths)
        self.fuse = nn.ModuleList(Fuse(width, deepest=level == 3) for level in range(NUM_MAPS))
        self.out = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, features: list[Tensor]) -> Tensor:
        """What the last convolution reads."""
        pyramid = [
            narrow(resize(project(found)))
            for found, project, resize, narrow in zip(
                features[1:], self.project, self.resize, self.narrow, strict=True
            )
        ]
        path = None
        for level in reversed(range(NUM_MAPS)):
            found = pyramid[level]
            finer = (
                pyramid[level - 1].shape[-2:] if level else [2 * side for side in found.shape[-2:]]
            )
            path = self.fuse[level](found, path, list(finer))
        return self.out(path)


class Fuse(nn.Module):
    """The path from below plus this level's map, refined and brought to the next level's size."""

    def __init__(self, width: int, *, deepest: bool) -> None:
        """The deepest level has no path to add to (fig. 1, right)."""
        super().__init__()
        self.skip = None if deepest else ResidualUnit(width)
        self.refine = ResidualUnit(width)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, found: Tensor, path: Tensor | None, size: list[int]) -> Tensor:
        """`size` is height and width of the result."""
        if self.skip is not None:
            found = self.skip(found) + path
        refined = self.refine(found)
        return self.out(F.interpolate(refined, size, mode="bilinear", align_corners=False))


class ResidualUnit(nn.Module):
    """ReLU and 3x3 convolution, twice, and a shortcut (Lin et al. 2017, RefineNet)."""

    def __init__(self, width: int) -> None:
        """`width` channels in and out."""
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, found: Tensor) -> Tensor:
        """The same size."""
        return found + self.body(found)


class LastMap(nn.Module):
    """The linear decoder: the head's 1x1 convolution reads the last map as it is."""

    def forward(self, features: list[Tensor]) -> Tensor:
        """representation_BDhw in patches."""
        return features[-1]
