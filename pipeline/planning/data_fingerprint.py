"""What a plan must know of the images: their number, sizes, sharpness, and the sizes of objects.

K classes, H height, W width. Sizes are in pixels of the images as they were brought.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pipeline.data.formats.images import image_size, load_image, load_mask
from pipeline.records.manifest import Sample
from pipeline.runtime.progress import Progress
from pipeline.types import IGNORE, MAX_CLASSES

SIZES_READ, IMAGES_LOOKED_AT, MASKS_LOOKED_AT = 512, 24, 48
FEWEST_MASKS, MASK_PIXELS = (
    6,
    24_000_000,
)  # of large masks fewer are looked at: 2 megapixels take 1 s
SCALES = (1.0, 0.75, 0.5, 0.35, 0.25)
BLURRED = 0.01  # share of an image's variance that a scale may lose without being missed
LOOKED_AT_PX = 1024  # side of the middle that is looked at: sharpness needs no more
SPECK_PX = 4  # smaller components are slips of a hand


@dataclass(frozen=True, kw_only=True)
class ClassExtent:
    """How much there is of a class, and how wide it is."""

    share: float
    """Of the labelled pixels."""
    width_px: float
    """Of its components: the diameter of the largest disc that fits in one. The median, by area."""


@dataclass(frozen=True, kw_only=True)
class DataFingerprint:
    """The images of a workspace, as far as a plan asks."""

    num_images: int
    """Of all splits and domains."""
    num_labelled: int
    """In the pool, with a mask."""
    num_unlabelled: int
    """In the pool, with pixels that nobody was asked for."""
    shifted: bool
    """Whether other domains have labelled images and the current one has none."""
    num_classes: int
    height_px: int
    """The median; the widths likewise."""
    width_px: int
    largest_px: int
    """Pixels of the largest image."""
    several_shapes: bool
    """Whether some image's ratio of sides is another by more than a tenth."""
    detail_scale: float
    """The smallest of SCALES at which half of the images lose nothing to speak of; 1 = sharp."""
    extents: dict[str, ClassExtent] = field(default_factory=dict)
    """By class name, of the classes that have labelled pixels; empty where no mask exists."""


def data_fingerprint(
    root: Path, samples: Sequence[Sample], class_names: Sequence[str], domain: str | None
) -> DataFingerprint:
    """Look at headers, some images and some masks of the workspace at `root`, evenly chosen.

    `domain` is the current one; None before the first is taken in. DataError where a file cannot be
    read; ValueError where there is no sample.
    """
    if not samples:
        raise ValueError("no image: a plan needs at least one")
    sizes = [image_size(root / sample.image) for sample in _some(samples, SIZES_READ)]
    labelled = [sample for sample in samples if sample.labelled]
    looked_at = _some(samples, IMAGES_LOOKED_AT)
    usual_px = round(statistics.median(height * width for height, width in sizes))
    most = min(MASKS_LOOKED_AT, max(FEWEST_MASKS, MASK_PIXELS // usual_px))
    masks = _some(labelled, most)
    with Progress("fingerprint", len(looked_at) + len(masks)) as progress:
        scales = []
        for sample in looked_at:
            scales.append(detail_scale(load_image(root / sample.image)))
            progress.advance()
        widths = _Widths(len(class_names))
        for sample in masks:
            widths.add(load_mask(root / sample.mask, MAX_CLASSES))
            progress.advance()
    ratios = [width / height for height, width in sizes]
    usual = statistics.median(ratios)
    return DataFingerprint(
        num_images=len(samples),
        num_labelled=len(labelled),
        num_unlabelled=sum(sample.unlabelled for sample in samples),
        shifted=bool(labelled and domain) and domain not in {sample.domain for sample in labelled},
        num_classes=len(class_names),
        height_px=round(statistics.median(height for height, _ in sizes)),
        width_px=round(statistics.median(width for _, width in sizes)),
        largest_px=max(height * width for height, width in sizes),
        several_shapes=any(abs(ratio / usual - 1) > 0.1 for ratio in ratios),
        detail_scale=statistics.median_low(scales),
        extents=widths.extents(class_names),
    )


def detail_scale(image_HWC: NDArray[np.uint8]) -> float:
    """The smallest of SCALES at which the image's middle keeps all but BLURRED of its variance.

    It is shrunk to the scale and enlarged again; what is lost was finer than the scale shows.
    """
    middle_HWC = image_HWC[_middle(image_HWC.shape[0]), _middle(image_HWC.shape[1])]
    grey = Image.fromarray(middle_HWC).convert("L")
    whole_HW = np.asarray(grey, dtype=np.float32)
    allowed = BLURRED * float(whole_HW.var())
    kept = 1.0
    for scale in SCALES[1:]:
        small = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
        again = grey.resize(small, Image.Resampling.LANCZOS).resize(
            grey.size, Image.Resampling.BICUBIC
        )
        lost_HW = whole_HW - np.asarray(again, dtype=np.float32)
        if float(np.square(lost_HW).mean()) > allowed:
            break
        kept = scale
    return kept


def _middle(side_px: int) -> slice:
    first = max(0, (side_px - LOOKED_AT_PX) // 2)
    return slice(first, first + LOOKED_AT_PX)


def _some(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most so many, evenly over their order; the same for the same samples."""
    if len(samples) <= most:
        return list(samples)
    return [samples[place] for place in np.linspace(0, len(samples) - 1, most).round().astype(int)]


class _Widths:
    """Areas and widths of the components of every class, mask by mask."""

    def __init__(self, num_classes: int) -> None:
        self._found: list[list[tuple[int, float]]] = [[] for _ in range(num_classes)]
        self._pixels_K = np.zeros(num_classes, dtype=np.int64)

    def add(self, mask_HW: NDArray[np.uint8]) -> None:
        for index in np.unique(mask_HW[mask_HW != IGNORE]):
            of_class_HW = mask_HW == index
            self._pixels_K[index] += int(of_class_HW.sum())
            self._found[index] += component_widths(of_class_HW)

    def extents(self, class_names: Sequence[str]) -> dict[str, ClassExtent]:
        whole = max(1, int(self._pixels_K.sum()))
        return {
            name: ClassExtent(
                share=int(self._pixels_K[index]) / whole,
                width_px=round(_median_by_area(self._found[index]), 1),
            )
            for index, name in enumerate(class_names)
            if self._found[index]
        }


def component_widths(of_class_HW: NDArray[np.bool_]) -> list[tuple[int, float]]:
    """Area and width, in pixels, of every 8-connected component but specks.

    A component's width is the diameter of the largest disc inside: twice the largest distance to
    what is not it, less the pixel that both sides count.
    """
    parts_HW, count = ndimage.label(of_class_HW, structure=np.ones((3, 3)))
    numbers = np.arange(1, count + 1)
    # Beyond the border there is nothing: what the border cuts counts as ending there.
    inside_HW = ndimage.distance_transform_edt(np.pad(of_class_HW, 1))[1:-1, 1:-1]
    areas = ndimage.sum_labels(of_class_HW, parts_HW, numbers)
    furthest = ndimage.maximum(inside_HW, parts_HW, numbers) if count else []
    return [
        (int(area), 2 * float(distance) - 1)
        for area, distance in zip(areas, furthest, strict=True)
        if area > SPECK_PX
    ]


def _median_by_area(parts: list[tuple[int, float]]) -> float:
    """The width that half of a class's area does not exceed."""
    ordered = sorted(parts, key=lambda part: part[1])
    reached = np.cumsum([area for area, _ in ordered])
    return ordered[int(np.searchsorted(reached, reached[-1] / 2))][1]
