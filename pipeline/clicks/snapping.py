"""The border of a thing, from patches to pixels: a random walker in the band around it.

Patches that lie wholly inside or outside keep their answer; the pixels of those along the border
are solved again on the image's own pixels, with colour alone between them. H height, W width, M
pixels of the band.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg

from pipeline.clicks.superpixels import STEPS, neighbours

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Window = tuple[slice, slice]


@dataclass(frozen=True, kw_only=True)
class Snap:
    """How pixels of the band hang together."""

    colour: float = 25.0
    """Of an edge's weight exp(-colour times change), in root colour."""
    least: float = 1e-3
    strength: float = 0.05
    """What a pixel's prior weighs beside an edge without any change."""
    steps: int = 40
    """Of conjugate gradients, at most."""
    tolerance: float = 1e-2


def snapped(colours_HWC: Floats, prior_HW: Floats, band_HW: Bools, snap: Snap) -> Floats:
    """x_HW in [0, 1]: outside of the band the prior itself, inside the walker's chance."""
    found_HW = prior_HW.copy()
    place = np.flatnonzero(band_HW)
    if not len(place):
        return found_HW
    number = np.full(band_HW.size, -1, np.int32)
    number[place] = np.arange(len(place), dtype=np.int32)
    number_HW = number.reshape(band_HW.shape)
    diagonal = np.full(len(place), snap.strength)
    right = snap.strength * prior_HW.ravel()[place].astype(np.float64)
    ones, others, weights = [], [], []
    for down, across in STEPS:
        here, there = neighbours(band_HW.shape, down, across)  # type: ignore[arg-type]
        one, other = number_HW[here], number_HW[there]
        touched = (one >= 0) | (other >= 0)
        one, other = one[touched], other[touched]
        change = np.square(colours_HWC[here][touched] - colours_HWC[there][touched]).sum(-1)
        weight = np.exp(-snap.colour * np.sqrt(change)) + snap.least
        weight /= np.hypot(down, across)
        for mine, beside, value in (
            (one, other, prior_HW[there][touched]),
            (other, one, prior_HW[here][touched]),
        ):
            inside = mine >= 0
            diagonal += np.bincount(mine[inside], weight[inside], len(place))
            fixed = inside & (beside < 0)
            right += np.bincount(mine[fixed], weight[fixed] * value[fixed], len(place))
        both = (one >= 0) & (other >= 0)
        ones.append(one[both])
        others.append(other[both])
        weights.append(weight[both])
    edges = sparse.coo_array(
        (np.concatenate(weights), (np.concatenate(ones), np.concatenate(others))),
        shape=(len(place), len(place)),
    ).tocsr()
    system = (sparse.diags_array(diagonal) - edges - edges.T).tocsr()
    inverse = sparse.diags_array(1 / diagonal).tocsr()
    solved, _ = cg(
        system,
        right,
        x0=prior_HW.ravel()[place].astype(np.float64),
        M=inverse,
        rtol=snap.tolerance,
        maxiter=snap.steps,
    )
    found_HW.ravel()[place] = solved
    return found_HW


def connected(mask_HW: Bools, clicked: list[tuple[int, int]]) -> Bools:
    """The parts of the mask that a clicked pixel lies in; all of it where none does."""
    part_HW, _ = ndimage.label(mask_HW)
    wanted = {int(part_HW[place]) for place in clicked} - {0}
    return np.isin(part_HW, list(wanted)) if wanted else mask_HW
