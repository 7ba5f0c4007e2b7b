"""The points and boxes of Label Studio's smart tools as marks in pixels of the image.

Label Studio sends one list of entries, those of all points or all boxes of one class that were not
taken over yet. A point is an entry of its own, and again one with its label under the same id;
places are in percent of the image's width and height.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.annotators.entries import PROMPT_PREFIX, TO_NAME
from pipeline.clicks.marks import BoxMark, Click, Mark
from pipeline.errors import AnnotationError
from pipeline.plain_text import plain

MAX_MARKS = 256  # of one question; nobody clicks as often on one thing
_SIDES = ("original_height", "original_width")


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """What somebody clicked, and of which class they say it is."""

    class_name: str
    size: tuple[int, int]
    """Height and width of the image as Label Studio shows it."""
    marks: tuple[Mark, ...]

    @property
    def are_places(self) -> bool:
        """Whether any of them says where the thing is; the others only where it is not."""
        return any(isinstance(mark, BoxMark) or mark.positive for mark in self.marks)


def read_prompts(result: Any, class_names: Sequence[str]) -> Prompts:
    """The marks of a question, in order; AnnotationError for what is none."""
    if not isinstance(result, list) or not all(isinstance(entry, dict) for entry in result):
        raise AnnotationError(f"context.result is {_shown(result)}, expected a list of regions")
    entries: dict[str, dict[str, Any]] = {}
    labels: set[str] = set()
    for entry in result:
        value = entry.get("value")
        if not isinstance(value, dict) or entry.get("to_name") != TO_NAME:
            continue
        named = value.get("labels")
        labels |= set(map(str, named)) if isinstance(named, list) else set()
        if str(entry.get("from_name")).startswith(PROMPT_PREFIX):
            entries[str(entry.get("id"))] = entry
    if not entries:
        raise AnnotationError("no point and no box of a smart tool: click on a thing")
    if len(entries) > MAX_MARKS:
        raise AnnotationError(f"{len(entries)} marks, expected at most {MAX_MARKS}")
    known = sorted(labels & set(class_names))
    if len(known) != 1 or len(labels) != 1:
        raise AnnotationError(
            f"labels {_shown(sorted(labels))}, expected one class of {list(class_names)}: choose "
            "the class first, then click"
        )
    size = _size([[entry.get(side) for side in _SIDES] for entry in entries.values()])
    marks = tuple(_mark(entry, size) for entry in entries.values())
    return Prompts(class_name=known[0], size=size, marks=marks)


def _mark(entry: Mapping[str, Any], size: tuple[int, int]) -> Mark:
    value, (height, width) = entry["value"], size
    left, top = _percent(value, "x") * width, _percent(value, "y") * height
    if "height" not in value:
        positive = entry.get("is_positive", True)
        return Click(_inside(top, height), _inside(left, width), positive=positive is not False)
    if value.get("rotation"):
        raise AnnotationError("a turned box: draw it upright")
    return BoxMark(
        top=_inside(top, height),
        left=_inside(left, width),
        bottom=_inside(top + _percent(value, "height") * height, height),
        right=_inside(left + _percent(value, "width") * width, width),
    )


def _inside(place: float, side: int) -> float:
    """Within the image, to a thousandth of a pixel: percents are no exact edges of pixels."""
    return min(max(round(place, 3), 0.0), float(side))


def _percent(value: Mapping[str, Any], name: str) -> float:
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) <= 1e6:
        raise AnnotationError(f"{name} is {_shown(found)}, expected percent of the image")
    return float(found) / 100


def _size(sizes: Sequence[list[Any]]) -> tuple[int, int]:
    height, width = sizes[0]
    is_size = type(height) is type(width) is int and height > 0 and width > 0
    if is_size and all(each == sizes[0] for each in sizes):
        return height, width
    raise AnnotationError(f"sizes of the image {_shown(sizes)}, expected one (height, width)")


def _shown(value: Any) -> str:
    return plain(str(value), 120)
