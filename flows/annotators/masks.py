"""From a mask of class indices to Label Studio's brush regions, and back from what people did.

A pre-annotation is one region per class. Label Studio gives back the same regions under the same
ids, some of them changed, and new ones behind them in the order in which they were made. They may
overlap: painting "road" over "building" leaves the pixel in both, and a proposed region that was
painted on keeps its place in the list. Taking the last region at each pixel therefore loses
corrections (measured: 82 of 838 painted pixels). `read_annotation` compares with the
pre-annotation as it was sent instead.

What it cannot know is when a proposed region was painted on: Label Studio says neither the order
of strokes nor where they were (measured: a road painted back over a building that went too far
leaves the road's own pixels as they were, only its origin says "prediction-changed"). So people
are told to paint new regions (`instruction`), and where they did otherwise and it matters, the
pixel is unknown.

What nobody painted is unknown too, or of the background class where the question said so. That is
the question's, not the answer's: an answer is read under the background of the round that asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flows.annotators import brush_rle
from flows.annotators.annotator import Region
from flows.annotators.entries import (
    BRUSH_LABELS,
    FROM_NAME,
    LABELS,
    PAINTED,
    TO_NAME,
    Entries,
    Paint,
    read_entries,
)
from flows.annotators.tools.packed_pixels import strips
from pipeline.errors import AnnotationError, DataError
from pipeline.plain_text import plain
from pipeline.records.regions import Box, kept_inside
from pipeline.types import IGNORE, UNKNOWN

__all__ = ["BRUSH_LABELS", "FROM_NAME", "LABELS", "PAINTED", "TO_NAME", "UNKNOWN"]

NAMED = 10  # of the things beside an answer's masks; the record keeps them all

Mask = npt.NDArray[np.uint8]
_Claims = npt.NDArray[np.int16]
_NOBODY, _SEVERAL = -1, -2


class Reading(NamedTuple):
    """What an answer says about pixels, and in words what it says beside that."""

    mask_HW: Mask
    beside: str  # "" = nothing


def encode_result(
    mask_HW: Mask, class_names: Sequence[str], id_seed: str, kind: str = LABELS
) -> list[Region]:
    """One brush region per class present, in the order of the classes; 255 stays unpainted.

    `id_seed` (the item_id) fixes the region ids, so that encoding again gives the same result;
    `kind` is BRUSH_LABELS in projects of older versions. DataError when the mask holds an index
    that is no class.
    """
    if mask_HW.ndim != 2 or mask_HW.dtype != np.uint8:
        raise DataError(
            f"pre-annotation of {id_seed}: shape {mask_HW.shape}, type {mask_HW.dtype}; "
            "expected class indices [H, W] of uint8"
        )
    present = [int(value) for value in np.unique(mask_HW) if value != IGNORE]
    if present and present[-1] >= len(class_names):
        raise DataError(
            f"pre-annotation of {id_seed}: class index {present[-1]}, "
            f"but there are {len(class_names)} classes (0..{len(class_names) - 1}, 255 = none)"
        )
    return [
        brush_region(
            (mask_HW == index).astype(np.uint8) * 255,
            class_names[index],
            region_id=_region_id(id_seed, class_names[index]),
            kind=kind,
        )
        for index in present
    ]


def brush_region(alpha_HW: Mask, class_name: str, *, region_id: str, kind: str = LABELS) -> Region:
    """A region as Label Studio takes it; alpha 0..255.

    A label that has the strokes with it needs no second entry for them, which would be as large.
    """
    height, width = alpha_HW.shape
    return {
        "id": region_id,
        "type": kind,
        "from_name": FROM_NAME,
        "to_name": TO_NAME,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {
            "format": "rle",
            "rle": brush_rle.encode(alpha_HW),
            kind: [class_name],
        },
    }


def read_annotation(
    result: Sequence[Region],
    pre_annotation_result: Sequence[Region],
    class_names: Sequence[str],
    *,
    size: tuple[int, int],
    background: str | None = None,
) -> Reading:
    """Class indices [H, W] after what the annotator did; 255 where nobody gave a class.

    Each pixel takes, the later the stronger:
    0. `background`, a class; None = 255;
    1. what the pre-annotation says and the annotator left, under the region's present label;
    2. what the annotator painted onto a proposed region;
    3. new regions, in list order, which is the order in which they were begun.
    So what is erased and not painted again is as if never painted. 255 where UNKNOWN was painted,
    and where the order of painting nobody can tell: two regions of different classes hold the
    pixel, and one of them is a proposed one that was painted on.

    `flows.annotators.entries` says what an entry is. AnnotationError, with all that was found
    instead, when none of them is paint of a class, unless nobody painted and `background` says
    what that means; and when one is damaged.
    """
    answer = read_entries(result, class_names, size)
    says_nothing = answer.paints if background is not None else result
    if says_nothing and not answer.are_readable:
        raise AnnotationError(f"no brush with a class: {_listed(answer.remarks)}")
    sent = read_entries(pre_annotation_result, class_names, size)
    bare = IGNORE if background is None else list(class_names).index(background)
    by_id = {one.region_id: one for one in sent.paints}
    mask_HW, num_unordered = _merged(answer, by_id, size, bare)
    beside = list(answer.remarks)
    if num_unordered:
        beside.insert(
            0,
            f"{num_unordered} pixel(s) lie in two regions of which a proposed one was painted on: "
            "nobody can tell which came last, they are left unknown (press Esc, then the class's "
            "key, then paint)",
        )
    return Reading(mask_HW, _listed(beside))


def decode_annotation(
    result: Sequence[Region],
    pre_annotation_result: Sequence[Region],
    class_names: Sequence[str],
    *,
    size: tuple[int, int],
    background: str | None = None,
) -> Mask:
    """The mask alone of `read_annotation`."""
    reading = read_annotation(
        result, pre_annotation_result, class_names, size=size, background=background
    )
    return reading.mask_HW


def labels_for(class_names: Sequence[str], background: str | None) -> list[str]:
    """What indices of `as_painted` stand for."""
    return [*class_names, *([] if background is None else [UNKNOWN])]


def as_painted(mask_HW: Mask, class_names: Sequence[str], background: str | None) -> Mask:
    """What of a mask is to be painted, as indices into `labels_for`.

    With a background that class is left bare (255), and what has no class is painted UNKNOWN;
    without one the mask is what is painted.
    """
    if background is None:
        return mask_HW
    painted_HW = np.where(mask_HW == IGNORE, np.uint8(len(class_names)), mask_HW)
    painted_HW[mask_HW == list(class_names).index(background)] = IGNORE
    return painted_HW


def changed_pixels(
    mask_HW: Mask,
    pre_annotation_result: Sequence[Region],
    class_names: Sequence[str],
    background: str | None = None,
    regions: Collection[Box] = (),
) -> int:
    """How many pixels of a decoded annotation differ from the pre-annotation; 0 = as proposed.

    Without a pre-annotation that is every pixel that had to be painted. Inside `regions`, where
    the question was about them alone.
    """
    size = (mask_HW.shape[0], mask_HW.shape[1])
    before_HW = decode_annotation(
        pre_annotation_result, [], class_names, size=size, background=background
    )
    return int((mask_HW != kept_inside(before_HW, regions)).sum())


def _region_id(id_seed: str, class_name: str) -> str:
    return hashlib.sha256(f"{id_seed}\n{class_name}".encode()).hexdigest()[:10]


class _Layers(NamedTuple):
    """An answer's paints by their strength, each in the order of the list."""

    left: list[Paint]
    painted: list[Paint]
    new: list[Paint]


def _merged(
    answer: Entries, sent: dict[str, Paint], size: tuple[int, int], bare: int
) -> tuple[Mask, int]:
    """The mask, `bare` where nothing is painted, and how many pixels are unknown for want of an
    order."""
    layers = _Layers([], [], [])
    for paint in answer.paints:
        before = sent.get(paint.region_id)
        if before is None:
            layers.new.append(paint)
        elif _is_painted_on(paint, before, answer.remarked_ids):
            layers.painted.append(paint)
        else:
            layers.left.append(paint)
    mask_HW, num_unordered = np.empty(size, dtype=np.uint8), 0
    for rows in strips(size):
        claims_RW = _claims_of(layers, rows, (rows.stop - rows.start, size[1]))
        num_unordered += int((claims_RW == _SEVERAL).sum())
        claims_RW[claims_RW == _NOBODY] = bare
        claims_RW[claims_RW == _SEVERAL] = IGNORE
        mask_HW[rows] = claims_RW
    return mask_HW, num_unordered


def _claims_of(layers: _Layers, rows: slice, size: tuple[int, int]) -> _Claims:
    """The class that has each pixel of some rows."""
    left_RW, painted_RW, new_RW = (np.full(size, _NOBODY, dtype=np.int16) for _ in range(3))
    for paint in layers.new:
        new_RW[paint.pixels.rows(rows)] = paint.class_index
    for claims_RW, paints in ((painted_RW, layers.painted), (left_RW, layers.left)):
        for paint in paints:
            _claim(claims_RW, paint, rows)
    meet_RW = (painted_RW != _NOBODY) & (new_RW != _NOBODY) & (painted_RW != new_RW)
    found_RW = np.where(painted_RW == _NOBODY, left_RW, painted_RW)
    found_RW = np.where(new_RW == _NOBODY, found_RW, new_RW)
    found_RW[meet_RW] = _SEVERAL
    return found_RW


def _claim(claims_RW: _Claims, paint: Paint, rows: slice) -> None:
    """Take the pixels that are free; those that another class holds belong to none."""
    pixels_RW = paint.pixels.rows(rows)
    free_RW = pixels_RW & (claims_RW == _NOBODY)
    others_RW = pixels_RW & ~free_RW & (claims_RW != paint.class_index)
    claims_RW[free_RW] = paint.class_index
    claims_RW[others_RW] = _SEVERAL


def _is_painted_on(paint: Paint, before: Paint, remarked_ids: set[str]) -> bool:
    """Whether the annotator painted on a proposed region: it grew, or it is called edited and
    nothing else explains why (fewer pixels, another label, a note)."""
    if not paint.pixels.within(before.pixels):
        return True
    is_same = paint.class_index == before.class_index and paint.pixels.same_as(before.pixels)
    return paint.is_edited and is_same and paint.region_id not in remarked_ids


def _listed(remarks: Sequence[str]) -> str:
    more = [f"and {len(remarks) - NAMED} more"] if len(remarks) > NAMED else []
    return plain("; ".join([*remarks[:NAMED], *more]))
