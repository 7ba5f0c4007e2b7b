"""COCO: annotations/<split>.json, each class of an image one annotation in exact run lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.exports.export_set import Advance, ExportSample, ExportSet, IouLost
from pipeline.data.exports.rle import rle_counts
from pipeline.data.formats.images import image_size
from pipeline.files import write_json


def write_coco(data: ExportSet, out: Path, advance: Advance) -> IouLost:
    """Uncompressed RLE, ids from 1: category = class index + 1. What is ignored has no annotation.

    Every other pixel is in exactly one. Images without a mask are in unlabelled.json.
    """
    categories = [
        {"id": index + 1, "name": name, "supercategory": ""}
        for index, name in enumerate(data.classes)
    ]
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for number, sample in enumerate(data.samples, start=1):
        file = sample.copy_image(out / "images")
        height, width = image_size(file)
        split = found.setdefault(
            sample.split, {"images": [], "annotations": [], "categories": categories}
        )
        split["images"].append(
            {"id": number, "file_name": file.name, "height": height, "width": width}
        )
        if sample.mask is not None:
            split["annotations"] += _annotations(sample, number, len(data.classes))
        advance()
    for name, contents in found.items():
        for place, annotation in enumerate(contents["annotations"], start=1):
            annotation["id"] = place
        write_json(out / "annotations" / f"{name}.json", contents)
    return {}


def _annotations(sample: ExportSample, image_id: int, num_classes: int) -> list[dict[str, Any]]:
    mask_HW = sample.mask_HW(num_classes)
    return [
        {
            "image_id": image_id,
            "category_id": index + 1,
            "segmentation": {"size": list(mask_HW.shape), "counts": rle_counts(mask_HW == index)},
            "area": int((mask_HW == index).sum()),
            "bbox": _box(mask_HW == index),
            "iscrowd": 0,  # as in COCO-Stuff; trainers leave crowds out
        }
        for index in range(num_classes)
        if (mask_HW == index).any()
    ]


def _box(mask_HW: NDArray[np.bool_]) -> list[int]:
    """x, y, width and height."""
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]
