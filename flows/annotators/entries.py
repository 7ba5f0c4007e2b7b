"""What each entry of an answer is: paint of a class, paint whose class nobody can tell, a remark.

Label Studio puts everything that people did into one list. What a tool drew is an entry of its own
and, with the label that was chosen, another under the same id; only the second says more. An entry
is, by these rules:

1. Paint of a class, or of UNKNOWN, whose pixels have none: an entry of our labels with exactly one
   of them, whichever tool drew it: brush, magic wand, bitmask, polygon, rectangle, ellipse.
2. Paint of unknown class: an entry of our labels with no, several or foreign ones; what one of our
   tools drew without a label; a brush of another control without a label or with one of our
   classes; a shape of another control with one of our classes, by the box around it. Its pixels
   become IGNORE, never the class beneath.
3. A remark, which says nothing about pixels: choices, text, numbers, relations, values of a
   region, brushes and shapes of other labels, shapes of other controls without one, what is no
   object at all; and the points and boxes that people gave a smart tool, with the labels that they
   carry: what was made of them is a region of its own.
4. Damage, which makes the whole answer unreadable: of 1 and 2 a mask of another size than the
   image, rotated or not to be decoded, and a shape without a place, since nobody could say which
   pixels to leave out.

All but 1 are named. Nothing is lost: the record keeps the whole list as it came.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from flows.annotators import brush_rle
from flows.annotators.tools.bitmask import bitmask_alpha
from flows.annotators.tools.packed_pixels import Bools, PackedPixels
from flows.annotators.tools.shapes import shape_pixels
from pipeline.errors import AnnotationError
from pipeline.plain_text import plain
from pipeline.types import IGNORE, UNKNOWN

FROM_NAME, TO_NAME = "label", "image"  # the names in the labelling configuration
LABELS, BRUSH_LABELS = "labels", "brushlabels"  # our labels of any tool; of older projects' brush
TOOL_PREFIX = "label_"  # of the names of our tools, which no label comes with
PROMPT_PREFIX = "click_"  # of the names of our smart tools, whose regions are questions, not paint
PAINTED = 127  # brushes are anti-aliased: a pixel counts as painted above this alpha

_BRUSHES = ("brushlabels", "brush", "magicwand")
_SHAPES = ("rectangle", "polygon", "ellipse", "keypoint", "vector", "bitmask")
_PROMPTS = ("keypoint", "rectangle")
_MASKS = {"rle", "imageDataURL"}
_PLACES = {"rle", "imageDataURL", "points", "radiusX", "height"}  # a key of each kind of mask
_TOOLS = ("brush", "magicwand", "bitmask", "polygon", "rectangle", "ellipse")


class Paint(NamedTuple):
    """One region's pixels."""

    region_id: str
    class_index: int  # IGNORE where the class cannot be told, or is said to be unknown
    pixels: PackedPixels
    is_edited: bool  # Label Studio says that people changed something about the proposed region
    is_clear: bool  # whether people said what it is, be it unknown


class Entries(NamedTuple):
    """An answer's entries, in their order."""

    paints: list[Paint]
    remarks: list[str]  # in words, what is no paint of a class, and why
    remarked_ids: set[str]  # regions that a remark is about

    @property
    def are_readable(self) -> bool:
        """Whether any of them is paint of a class, or said to be unknown."""
        return any(paint.is_clear for paint in self.paints)


def read_entries(result: Any, class_names: Sequence[str], size: tuple[int, int]) -> Entries:
    """The entries by the rules above; AnnotationError on damage and on what is no list."""
    if not isinstance(result, list | tuple):
        raise AnnotationError(f"result is {type(result).__name__}, expected a list of regions")
    indices = {name: index for index, name in enumerate(class_names)}
    labelled = {
        _region_id(entry)
        for entry in result
        if _is_of_our_labels(entry) and entry["type"] == LABELS and _has_place(entry)
    }
    prompts = {_region_id(entry) for entry in result if _is_prompt(entry)}
    found = Entries([], [], set())
    for place, entry in enumerate(result, start=1):
        if _is_prompt(entry):
            found.remarks.append(f"entry {place}: a click or box of a smart tool")
            continue
        if _is_label_of(entry, prompts):
            continue
        if _is_of_a_tool(entry) and _region_id(entry) in labelled:
            continue  # its label comes with the same shape
        try:
            remark = _read(entry, indices, size, found)
        except AnnotationError as error:
            raise AnnotationError(f"region {place} of {len(result)}: {error}") from None
        if remark:
            found.remarks.append(f"entry {place}: {remark}")
    return found


def _is_of_our_labels(entry: Any) -> bool:
    """Whether it has a label of the loop's own control."""
    if not isinstance(entry, dict) or entry.get("type") not in (LABELS, BRUSH_LABELS):
        return False
    return (entry.get("from_name"), entry.get("to_name")) == (FROM_NAME, TO_NAME)


def _is_of_a_tool(entry: Any) -> bool:
    """Whether it says what was drawn on the image, and no label."""
    if not isinstance(entry, dict) or entry.get("to_name") != TO_NAME:
        return False
    return entry.get("type") in _TOOLS


def _is_of_our_tools(entry: Any) -> bool:
    """As `_is_of_a_tool`, of those that the loop offers."""
    return _is_of_a_tool(entry) and str(entry.get("from_name")).startswith(TOOL_PREFIX)


def _is_prompt(entry: Any) -> bool:
    """Whether somebody asked a smart tool with it."""
    return (
        isinstance(entry, dict)
        and entry.get("type") in _PROMPTS
        and str(entry.get("from_name")).startswith(PROMPT_PREFIX)
    )


def _is_label_of(entry: Any, prompts: set[str]) -> bool:
    """Whether it is the label of one of the prompts, by their ids; a mask is never."""
    if not isinstance(entry, dict) or _region_id(entry) not in prompts:
        return False
    value = entry.get("value")
    return not (isinstance(value, dict) and _MASKS & value.keys())


def _has_place(entry: Mapping[str, Any]) -> bool:
    """Whether it says which pixels; points and lines do not."""
    value = entry.get("value")
    return not isinstance(value, dict) or bool(_PLACES & value.keys())


def _read(
    entry: Any, indices: Mapping[str, int], size: tuple[int, int], found: Entries
) -> str | None:
    """Put an entry's paint into `found`; what is to be said of it."""
    if not isinstance(entry, dict):
        return f"{type(entry).__name__}, expected an object"
    kind, region_id = entry.get("type"), _region_id(entry)
    is_ours, is_drawn = _is_of_our_labels(entry), _is_of_our_tools(entry)
    labels = _labels(entry.get("value"))
    known = {UNKNOWN: IGNORE, **indices} if is_ours else indices
    named = [label for label in labels if isinstance(label, str) and label in known]
    is_pixels = isinstance(kind, str) and (kind.endswith("labels") or kind in _BRUSHES + _SHAPES)
    if not is_pixels or (is_ours and kind == LABELS and not _has_place(entry)):
        found.remarked_ids.add(region_id)
        return f"{_shown(kind)} says nothing about pixels"
    if not (is_ours or is_drawn or named) and (labels or kind not in _BRUSHES):
        return f"{_shown(kind)} of {_shown(labels)}, none of the classes"
    is_clear = is_ours and len(labels) == len(named) == 1
    is_exact = is_drawn or (is_ours and kind == LABELS)
    paint = Paint(
        region_id,
        known[named[0]] if is_clear else IGNORE,
        PackedPixels(_pixels(entry, size, is_exact=is_exact)),
        is_edited=entry.get("origin") == "prediction-changed",
        is_clear=is_clear,
    )
    found.paints.append(paint)
    if not is_clear:
        return (
            f"{_shown(kind)} with labels {_shown(labels)}, expected one of the classes "
            f"({', '.join(indices)}): its {len(paint.pixels)} pixel(s) are left unknown"
        )
    if entry.get("meta"):
        found.remarked_ids.add(region_id)
        return "a note on the region"
    return None if len(paint.pixels) else f"{_shown(named[0])} without a pixel"


def _pixels(entry: Mapping[str, Any], size: tuple[int, int], *, is_exact: bool) -> Bools:
    """What an entry covers; of shapes of other controls what they may cover."""
    value = entry.get("value")
    keys = value.keys() if isinstance(value, dict) else ()
    if entry.get("type") in _BRUSHES or "rle" in keys:
        return _brushed(entry, size)
    if not is_exact:
        return _around(entry, size)
    _check_upright(entry)
    if not isinstance(value, dict):
        raise AnnotationError(f"{_shown(entry.get('type'))} without a place: draw it again")
    if "imageDataURL" in keys:
        return bitmask_alpha(value["imageDataURL"], size) > PAINTED
    return shape_pixels(value, size)


def _region_id(entry: Mapping[str, Any]) -> str:
    return str(entry.get("id"))


def _labels(value: Any) -> list[Any]:
    """All labels of a region, which stand under the name of its kind."""
    if not isinstance(value, dict):
        return []
    found: list[Any] = []
    for key, labels in value.items():
        if key.endswith("labels") and labels is not None:
            found += labels if isinstance(labels, list) else [labels]
    return found


def _brushed(entry: Mapping[str, Any], size: tuple[int, int]) -> Bools:
    found = (entry.get("original_height"), entry.get("original_width"))
    if found != size or any(isinstance(side, bool) for side in found):
        raise AnnotationError(f"size {_shown(found)} (height, width), but the image is {size}")
    _check_upright(entry)
    value = entry.get("value")
    if not isinstance(value, dict) or value.get("format") != "rle":
        raise AnnotationError("no brush mask of format 'rle'")
    if value.get("rle") == []:
        return np.zeros(size, dtype=bool)
    return brush_rle.decode(value.get("rle"), *size) > PAINTED


def _check_upright(entry: Mapping[str, Any]) -> None:
    if rotation := entry.get("image_rotation"):
        raise AnnotationError(f"the image was rotated by {_shown(rotation)} degrees, expected 0")


def _around(entry: Mapping[str, Any], size: tuple[int, int]) -> Bools:
    """The box around a shape, a pixel wider: what it may cover, not what it covers."""
    _check_upright(entry)
    try:
        corners = _corners(entry.get("value"), size[0] / size[1])
        left, right = (bound(x for x, _ in corners) / 100 * size[1] for bound in (min, max))
        top, bottom = (bound(y for _, y in corners) / 100 * size[0] for bound in (min, max))
        rows = slice(max(0, math.floor(top) - 1), max(0, math.ceil(bottom) + 1))
        columns = slice(max(0, math.floor(left) - 1), max(0, math.ceil(right) + 1))
    except (TypeError, ValueError, KeyError, OverflowError):
        raise AnnotationError(
            f"{_shown(entry.get('type'))} whose place cannot be told: draw it with the brush"
        ) from None
    pixels_HW = np.zeros(size, dtype=bool)
    pixels_HW[rows, columns] = True
    return pixels_HW


def _corners(value: Any, height_to_width: float) -> list[tuple[float, float]]:
    """Points whose box holds the shape, in percent of the image's width and height."""
    if "points" in value:
        return [(float(x), float(y)) for x, y in value["points"]]
    if "vertices" in value:
        return [(float(one["x"]), float(one["y"])) for one in value["vertices"]]
    x, y = float(value["x"]), float(value["y"])
    if "radiusX" in value:
        reach = max(float(value["radiusX"]), float(value["radiusY"]) * height_to_width)
    elif "height" in value and not value.get("rotation"):
        return [(x, y), (x + float(value["width"]), y + float(value["height"]))]
    else:  # a rectangle turned about its corner, or a point with its width
        across = float(value.get("height", 0.0)) * height_to_width
        reach = math.hypot(float(value["width"]), across)
    return [(x - reach, y - reach / height_to_width), (x + reach, y + reach / height_to_width)]


def _shown(value: Any) -> str:
    return plain(repr(value) if isinstance(value, str) else str(value), 80)
