"""How a person's hand changes a pre-annotation: where it paints, with soft edges, and its slips.

For the simulated annotator. A person corrects what is wrong and leaves the rest, as the
instruction says: paint is a new region with anti-aliased edges, and mostly leaves the pixel in the
proposed region too, as Label Studio's brush does; some erase what lies beneath first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from flows.annotators.annotator import Region
from flows.annotators.brush_rle import decode
from flows.annotators.masks import PAINTED, Mask, brush_region
from pipeline.types import IGNORE

_WAVE_PX = 16  # a hand wanders slowly: one random shift per so many pixels
_Bools = npt.NDArray[np.bool_]


class Interface(NamedTuple):
    """What a person has at hand: the labels, and of which type what is painted with them is."""

    class_names: Sequence[str]
    kind: str


def aim(before_HW: Mask, truth_HW: Mask, noise_px: float, rng: np.random.Generator) -> Mask:
    """What the person wants to see: the truth where `before` is wrong, by a hand `noise_px` unsure.

    Around errors boundaries are off by up to about `noise_px`; elsewhere `before` stays. 0 gives
    exactly the truth.
    """
    if noise_px <= 0:
        return truth_HW
    reach = int(np.ceil(noise_px)) + 1
    return np.where(
        _grown(before_HW != truth_HW, reach), _wobbled(truth_HW, noise_px, rng), before_HW
    )


def slip(mask_HW: Mask, num_classes: int, rng: np.random.Generator) -> Mask:
    """The mask with one object given a wrong class: all of one class within a random window."""
    labelled = np.argwhere(mask_HW != IGNORE)
    if not len(labelled):
        return mask_HW
    row, column = labelled[rng.integers(len(labelled))]
    right = int(mask_HW[row, column])
    wrong = (right + int(rng.integers(1, num_classes))) % num_classes
    height, width = (max(1, side // 8) for side in mask_HW.shape)
    window = np.s_[
        max(0, row - height) : row + height + 1, max(0, column - width) : column + width + 1
    ]
    slipped = mask_HW.copy()
    slipped[window][mask_HW[window] == right] = wrong
    return slipped


def repaint(
    before: Sequence[Region],
    aim_HW: Mask,
    interface: Interface,
    rng: np.random.Generator,
) -> list[Region]:
    """The regions after the person made them show `aim_HW`, indices into the interface's labels;
    those of `before` keep id and place.

    `before` must not overlap itself, as no pre-annotation does. A region that is not touched comes
    back unchanged; one whose last pixel is erased is gone; what is painted is a new region per
    class.
    """
    indices = {name: index for index, name in enumerate(interface.class_names)}
    erases_under = rng.random() < 0.3  # most only paint over; some take the old class away first
    before_HW = np.full(aim_HW.shape, IGNORE, dtype=np.uint8)
    regions: list[tuple[Region, _Bools]] = []
    for region in before:
        alpha_HW = decode(region["value"]["rle"], *aim_HW.shape)
        regions.append((region, alpha_HW > PAINTED))
        before_HW[alpha_HW > PAINTED] = indices[label_of(region)]
    changed_HW = before_HW != aim_HW
    erased_HW = changed_HW if erases_under else changed_HW & (aim_HW == IGNORE)
    result: list[Region] = []
    for region, old_HW in regions:
        left_HW = old_HW & ~erased_HW
        if left_HW.any():
            result.append(_after(region, old_HW, left_HW))
    for class_index in np.unique(aim_HW[changed_HW & (aim_HW != IGNORE)]):
        painted_HW = changed_HW & (aim_HW == class_index)
        name = interface.class_names[class_index]
        region = brush_region(
            _soft(painted_HW), name, region_id=rng.bytes(5).hex(), kind=interface.kind
        )
        result.append({**region, "origin": "manual"})
    return result


def label_of(region: Region) -> str:
    """The class of a region of ours that has one."""
    label: str = region["value"][region["type"]][0]
    return label


def undecodable(result: Sequence[Region]) -> list[Region]:
    """The result with the last region's brush mask cut short, as after a broken upload."""
    *others, last = result
    rle = last["value"]["rle"]
    return [*others, {**last, "value": {**last["value"], "rle": rle[: len(rle) * 2 // 3]}}]


def _after(region: Region, old_HW: _Bools, new_HW: _Bools) -> Region:
    moved_HW = old_HW != new_HW
    if not moved_HW.any():
        return {**region, "origin": "prediction"}
    alpha_HW = np.where(_grown(moved_HW, 1), _soft(new_HW), new_HW * np.uint8(255))
    changed = brush_region(
        alpha_HW, label_of(region), region_id=str(region["id"]), kind=region["type"]
    )
    return {**region, **changed, "origin": "prediction-changed"}


def _soft(painted_HW: _Bools) -> Mask:
    """Alpha of a brush: 0 and 255 with a step between along edges, on the right side of half."""
    image = Image.fromarray(painted_HW.astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(1))
    alpha_HW = np.asarray(image)
    return np.where(painted_HW, alpha_HW.clip(PAINTED + 1), alpha_HW.clip(0, PAINTED))


def _grown(pixels_HW: _Bools, reach: int) -> _Bools:
    image = Image.fromarray(pixels_HW.astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * reach + 1))
    return np.asarray(image) > 0


def _wobbled(mask_HW: Mask, noise_px: float, rng: np.random.Generator) -> Mask:
    """Every pixel takes the class of one up to about `noise_px` away, neighbours alike."""
    height, width = mask_HW.shape
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    rows = np.rint(rows + noise_px * _wave((height, width), rng)).astype(int).clip(0, height - 1)
    columns = np.rint(columns + noise_px * _wave((height, width), rng)).astype(int)
    return mask_HW[rows, columns.clip(0, width - 1)]


def _wave(size: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Smooth random numbers in [-1, 1]."""
    coarse = rng.uniform(-1, 1, [side // _WAVE_PX + 2 for side in size]).astype(np.float32)
    image = Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)
