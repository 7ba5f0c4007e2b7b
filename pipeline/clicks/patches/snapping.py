"""The border of a thing, from patches to pixels: a random walker in the band along it.

Patches that no patch of the other kind touches keep their answer; the pixels of the others are
solved again on the image's own pixels, with colour alone between them. H height, W width of the
image or of a window, M pixels of the band, N patches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg

from pipeline.clicks.patches.prepared_image import PreparedImage
from pipeline.clicks.patches.superpixels import STEPS, neighbours, smoothed

FINE_PX = 4.0  # patches of no larger side already have the image's borders
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Snap:
    """How pixels of the band hang together."""

    colour: float = 25.0
    """Of an edge's weight exp(-colour times change), in root colour."""
    least: float = 1e-3
    strength: float = 0.3
    """What a pixel's own patch weighs beside an edge without any change."""
    steps: int = 25
    """Of conjugate gradients, at most."""
    tolerance: float = 1e-2


def pixel_mask(image: PreparedImage, x_N: Floats, snap: Snap) -> Bools:
    """mask_HW of the whole image, of the patches with x over 1/2, along pixels at its border."""
    taken_N = x_N > 0.5
    mask_HW = np.zeros(image.size, bool)
    border_N = _along_border(image, taken_N)
    window = _window((taken_N | border_N)[image.patch_hw], image.size)
    rows, columns = (
        _nearest(many, few)[cut]
        for many, few, cut in zip(image.size, image.patch_hw.shape, window, strict=True)
    )
    patch_HW = image.patch_hw[np.ix_(rows, columns)]
    if np.sqrt(mask_HW.size / len(x_N)) <= FINE_PX:
        mask_HW[window] = taken_N[patch_HW]
    else:
        colours_HWC = smoothed(image.image_HWC[window])
        mask_HW[window] = snapped(colours_HWC, x_N[patch_HW], border_N[patch_HW], snap) > 0.5
    return mask_HW


def snapped(colours_HWC: Floats, prior_HW: Floats, band_HW: Bools, snap: Snap) -> Floats:
    """x_HW in [0, 1]: outside of the band the prior itself, inside the walker's chance."""
    found_HW = prior_HW.copy()
    place_M = np.flatnonzero(band_HW)
    if not len(place_M):
        return found_HW
    number = np.full(band_HW.size, -1, np.int32)
    number[place_M] = np.arange(len(place_M), dtype=np.int32)
    number_HW = number.reshape(band_HW.shape)
    diagonal_M = np.full(len(place_M), snap.strength)
    right_M = snap.strength * prior_HW.ravel()[place_M].astype(np.float64)
    edges = sparse.csr_array((len(place_M), len(place_M)))
    for down, across in STEPS:
        here, there = neighbours(_size(band_HW), down, across)
        touched = band_HW[here] | band_HW[there]
        one, other = number_HW[here][touched], number_HW[there][touched]
        change = np.square(colours_HWC[here][touched] - colours_HWC[there][touched]).sum(-1)
        weight = (np.exp(-snap.colour * np.sqrt(change)) + snap.least) / np.hypot(down, across)
        priors = prior_HW[here][touched], prior_HW[there][touched]
        for mine, beside, prior in ((one, other, priors[1]), (other, one, priors[0])):
            inside = mine >= 0
            diagonal_M += np.bincount(mine[inside], weight[inside], len(place_M))
            fixed = inside & (beside < 0)
            right_M += np.bincount(mine[fixed], (weight * prior)[fixed], len(place_M))
        both = (one >= 0) & (other >= 0)
        edges = edges + sparse.coo_array((weight[both], (one[both], other[both])), edges.shape)
    solved_M, _ = cg(
        sparse.diags_array(diagonal_M).tocsr() - edges - edges.T,
        right_M,
        x0=prior_HW.ravel()[place_M].astype(np.float64),
        M=sparse.diags_array(1 / diagonal_M).tocsr(),
        rtol=snap.tolerance,
        maxiter=snap.steps,
    )
    found_HW.ravel()[place_M] = solved_M
    return found_HW


def connected(mask_HW: Bools, clicked: Iterable[tuple[int, int]]) -> Bools:
    """The areas of the mask in which a clicked pixel lies."""
    part_HW, count = ndimage.label(mask_HW)
    wanted = np.zeros(count + 1, bool)
    for place in clicked:
        wanted[part_HW[place]] = True
    wanted[0] = False
    found_HW: Bools = wanted[part_HW]
    return found_HW


def _along_border(image: PreparedImage, taken_N: Bools) -> Bools:
    one, other = image.pair_P2.T
    apart = taken_N[one] != taken_N[other]
    border_N = np.zeros(len(taken_N), bool)
    border_N[one[apart]] = border_N[other[apart]] = True
    return border_N


def _window(wanted_hw: Bools, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of an image of `size` that hold everything wanted, and a pixel more."""
    window = []
    for axis, length in enumerate(size):
        at = np.flatnonzero(wanted_hw.any(1 - axis))
        scale = length / wanted_hw.shape[axis]
        first, last = (int(at[0]), int(at[-1])) if len(at) else (0, 0)
        end = min(length, int((last + 1) * scale) + 2)
        window.append(slice(max(0, int(first * scale) - 1), end))
    return window[0], window[1]


def _nearest(many: int, few: int) -> NDArray[np.intp]:
    return ((np.arange(many) + 0.5) * few / many).astype(np.intp)


def _size(values_HW: NDArray[np.generic]) -> tuple[int, int]:
    return values_HW.shape[0], values_HW.shape[1]
