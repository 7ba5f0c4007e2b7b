"""What is kept of an image for clicks: patches, their colour and features, class probabilities.

N patches, P pairs of them, D features, K classes, H height, W width of the image; h and w of the
picture that patches are grown on, at most MOST_PIXELS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.array_files import array_of, read_arrays
from pipeline.clicks.patches.superpixels import Patches, grow_patches, smoothed
from pipeline.files import replacing

MOST_PIXELS = 500_000  # more cost memory, and borders are solved at the image's own size anyway
NUM_PATCHES = 12_000
SMALLEST_PX = 3.0  # of a patch's side: below it says no more than a pixel
NUM_FEATURES = 16  # principal components over the patches of one image
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """Everything that a click on one image needs; arrays alone, so that it can be kept."""

    image_HWC: NDArray[np.uint8]
    """The image, upright."""
    patch_hw: NDArray[np.int32]
    pair_P2: NDArray[np.int32]
    border_P: Floats
    colour_N3: Floats
    """Mean root colour."""
    place_N2: Floats
    """Row and column of each patch's middle, in shares of the image's longer side."""
    feature_ND: Floats
    """Deep features, each component of variance 1 over the patches."""
    probs_NK: Floats
    """Class probabilities of the teacher; K = 0 where there is none."""

    @property
    def size(self) -> tuple[int, int]:
        """H and W."""
        return self.image_HWC.shape[0], self.image_HWC.shape[1]

    @property
    def patches(self) -> Patches:
        """The partition alone."""
        return Patches(self.patch_hw, self.pair_P2, self.border_P)

    @property
    def num_bytes(self) -> int:
        """In memory."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))


@dataclass(frozen=True, eq=False)
class LookedAt:
    """What a network says about an image, at the resolution it says it."""

    cells_Dhw: Floats
    probs_Khw: Floats | None
    """None without a trained network."""


def prepared(image_HWC: NDArray[np.uint8], looked: LookedAt) -> PreparedImage:
    """Patches of the image, with what the network says of each."""
    small_hwC = reduced(image_HWC)
    rows, columns = small_hwC.shape[:2]
    patches = grow_patches(small_hwC, max(SMALLEST_PX, math.sqrt(rows * columns / NUM_PATCHES)))
    grid = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    place_N2 = (patches.means(np.stack(grid, axis=-1)) + 0.5) / max(rows, columns)
    probs = looked.probs_Khw
    if probs is None:
        probs_NK: Floats = np.empty((patches.count, 0), np.float32)
    else:
        probs_NK = _means_of(patches, probs)
    return PreparedImage(
        image_HWC=image_HWC,
        patch_hw=patches.patch_HW,
        pair_P2=patches.pair_P2,
        border_P=patches.border_P,
        colour_N3=patches.means(smoothed(small_hwC)),
        place_N2=place_N2.astype(np.float32),
        feature_ND=_components(_means_of(patches, looked.cells_Dhw)),
        probs_NK=probs_NK,
    )


def reduced(image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture that patches are grown on: the image, or one of MOST_PIXELS."""
    height, width = image_HWC.shape[:2]
    scale = math.sqrt(MOST_PIXELS / (height * width))
    if scale >= 1:
        return image_HWC
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return np.asarray(Image.fromarray(image_HWC).resize(size, Image.Resampling.BOX))


def _means_of(patches: Patches, values_Dhw: Floats) -> Floats:
    """means_ND of a map of another size: each pixel of a patch takes its nearest value."""
    from scipy import sparse

    rows, columns = patches.patch_HW.shape
    depth, height, width = values_Dhw.shape
    row = ((np.arange(rows) + 0.5) * height / rows).astype(np.int64)
    column = ((np.arange(columns) + 0.5) * width / columns).astype(np.int64)
    cell = (row[:, None] * width + column).ravel()
    patch = patches.patch_HW.ravel()
    share = (1 / np.bincount(patch)).astype(np.float32)[patch]
    mixing = sparse.coo_array((share, (patch, cell)), shape=(patches.count, height * width))
    found: Floats = mixing.tocsr() @ values_Dhw.reshape(depth, -1).T
    return found.astype(np.float32)


def _components(feature_ND: Floats) -> Floats:
    centred = feature_ND - feature_ND.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    best = vectors[:, ::-1][:, :NUM_FEATURES]
    found = centred @ best
    return (found / np.sqrt(values[::-1][: found.shape[1]].clip(min=1e-8))).astype(np.float32)


def save(found: PreparedImage, file: Path) -> None:
    """Everything but the image itself, which has a file of its own."""
    arrays = {
        field.name: getattr(found, field.name)
        for field in fields(found)
        if field.name != "image_HWC"
    }
    with replacing(file) as beside, beside.open("wb") as out:
        np.savez(out, **arrays)


KINDS = {
    "patch_hw": ("i", 2),
    "pair_P2": ("i", 2),
    "border_P": ("f", 1),
    "colour_N3": ("f", 2),
    "place_N2": ("f", 2),
    "feature_ND": ("f", 2),
    "probs_NK": ("f", 2),
}


def load(file: Path, image_HWC: NDArray[np.uint8]) -> PreparedImage:
    """What `save` wrote of this image; DataError for a file that is damaged."""
    arrays = read_arrays(file, KINDS)
    found: dict[str, Any] = {
        name: array_of(arrays, name, kind, axes, str(file)) for name, (kind, axes) in KINDS.items()
    }
    return PreparedImage(image_HWC=image_HWC, **found)
