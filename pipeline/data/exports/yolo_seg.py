"""YOLO segmentation: images/<split>, labels/<split> of polygons, data.yaml. H height, W width."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.data.exports.export_set import LEARNT_FROM, Advance, ExportSet, IouLost
from pipeline.errors import DataError
from pipeline.files import write_text
from pipeline.types import IGNORE


class Outline(NamedTuple):
    """The outer border of one connected part of a class, painted over what is larger."""

    class_index: int
    corners_N2: NDArray[np.int32]
    """x and y of pixels on it."""


def write_yolo_seg(data: ExportSet, out: Path, advance: Advance) -> IouLost:
    """A line for each connected part of a class: its index, then x and y of its corners in [0, 1].

    Corners are middles of pixels, of the image's width and height. Parts come from the largest to
    the smallest, so that what is painted in this order fills holes. Holes that are ignored, and
    where parts touch at corners alone, cannot be said: the IoU of each class tells how much.
    """
    num_classes = len(data.classes)
    counts_KK = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    for sample in data.samples:
        sample.copy_image(out / "images" / sample.split)
        if sample.mask is not None:
            mask_HW = sample.mask_HW(num_classes)
            outlines = outlines_of(mask_HW, num_classes)
            lines = "".join(f"{_line(outline, mask_HW.shape)}\n" for outline in outlines)
            write_text(out / "labels" / sample.split / f"{sample.name}.txt", lines)
            counts_KK += _confusion(mask_HW, filled(outlines, mask_HW.shape), num_classes)
        advance()
    places = [
        f"{split}: images/{split}" for split in LEARNT_FROM if (out / "images" / split).is_dir()
    ]
    names = json.dumps(list(data.classes), ensure_ascii=False)
    write_text(out / "data.yaml", "\n".join(["path: .", *places, f"names: {names}", ""]))
    return _iou(counts_KK, data.classes)


def outlines_of(mask_HW: NDArray[np.uint8], num_classes: int) -> list[Outline]:
    """Of all connected parts, the largest first."""
    cv2 = _opencv()
    found = []
    for index in range(num_classes):
        own_HW = (mask_HW == index).astype(np.uint8)
        # Not RETR_EXTERNAL, which leaves out a part in a hole of another part of its class.
        borders, nested = cv2.findContours(own_HW, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        parents = [] if nested is None else nested[0, :, 3].tolist()
        found += [
            Outline(index, border.reshape(-1, 2))
            for border, parent in zip(borders, parents, strict=True)
            if parent < 0  # else the border of a hole
        ]
    return sorted(found, key=lambda outline: -_area(outline))


def filled(outlines: Sequence[Outline], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """The mask that a reader gets who paints them in order; IGNORE where nothing is."""
    cv2 = _opencv()
    mask_HW = np.full(size, IGNORE, dtype=np.uint8)
    for outline in outlines:
        cv2.fillPoly(mask_HW, [outline.corners_N2], int(outline.class_index))
    return mask_HW


def _area(outline: Outline) -> float:
    """Of the polygon through the middles of its pixels, and its border."""
    cv2 = _opencv()
    border = cv2.arcLength(outline.corners_N2, True)
    return float(cv2.contourArea(outline.corners_N2) + border / 2)


def _line(outline: Outline, size: tuple[int, ...]) -> str:
    height, width = size
    corners = outline.corners_N2
    if len(corners) < 3:  # readers want three; again and again the last changes no pixel
        corners = np.concatenate([corners, np.repeat(corners[-1:], 3 - len(corners), axis=0)])
    shares = (corners + 0.5) / (width, height)
    return " ".join([str(outline.class_index), *(f"{value:.6f}" for value in shares.ravel())])


def _confusion(
    mask_HW: NDArray[np.uint8], found_HW: NDArray[np.uint8], num_classes: int
) -> NDArray[np.int64]:
    """Counts by true and found class, the last column for pixels that no polygon has."""
    known_HW = mask_HW != IGNORE
    found_N = np.minimum(found_HW[known_HW], num_classes).astype(np.int64)
    pairs_N = mask_HW[known_HW].astype(np.int64) * (num_classes + 1) + found_N
    counts = np.bincount(pairs_N, minlength=num_classes * (num_classes + 1))
    return counts.reshape(num_classes, num_classes + 1)


def _iou(counts_KK: NDArray[np.int64], classes: Sequence[str]) -> IouLost:
    ious: IouLost = {}
    for index, name in enumerate(classes):
        both = int(counts_KK[index, index])
        union = int(counts_KK[index].sum() + counts_KK[:, index].sum()) - both
        ious[name] = round(both / union, 6) if union else None
    return ious


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise DataError(
            f"polygons need OpenCV, which does not load here ({error}); `pip install "
            "opencv-python-headless`"
        ) from None
    return cv2
