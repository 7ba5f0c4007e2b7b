"""Points and boxes of Label Studio as marks, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from flows.annotators.assist.prompts import MAX_MARKS, read_prompts
from pipeline.clicks.marks import BoxMark, Click
from pipeline.errors import AnnotationError
from tests.flows.annotators.assist.conftest import CLASSES, SIZE, box, point


def test_points_are_rows_and_columns_of_pixels() -> None:
    found = read_prompts([*point(15, 30, number=1), *point(2, 59.5, positive=False)], CLASSES)
    first, second = found.marks
    assert (found.class_name, found.size) == ("car", SIZE)
    assert isinstance(first, Click)
    assert isinstance(second, Click)
    assert (first.row, first.column) == pytest.approx((15, 30))
    assert (second.row, second.column) == pytest.approx((2, 59.5))
    assert (first.positive, second.positive) == (True, False)
    assert found.are_places
    assert not read_prompts(point(1, 1, positive=False), CLASSES).are_places


def test_a_box_is_cut_at_the_image() -> None:
    (mark,) = read_prompts(box(-4, 10, 44, 20), CLASSES).marks
    assert isinstance(mark, BoxMark)
    sides = (mark.top, mark.left, mark.bottom, mark.right)
    assert sides == pytest.approx((0, 10, 40, 20))


@pytest.mark.parametrize("only", [0, 1])
def test_either_entry_of_a_point_may_carry_the_label(only: int) -> None:
    entries = point(15, 30)
    del entries[1 - only]["value"]["labels"]
    assert read_prompts(entries, CLASSES).class_name == "car"


def test_other_regions_say_nothing() -> None:
    brush = {"id": "x", "type": "labels", "from_name": "label", "to_name": "image", "value": {}}
    assert len(read_prompts([brush, *point(1, 1)], CLASSES).marks) == 1


def _changed(**changes: Any) -> list[dict[str, Any]]:
    return [{**entry, **changes} for entry in point(15, 30)]


def _placed(**changes: Any) -> list[dict[str, Any]]:
    return [{**entry, "value": {**entry["value"], **changes}} for entry in point(15, 30)]


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (None, "expected a list of regions"),
        ("abc", "expected a list of regions"),
        ([7], "expected a list of regions"),
        ([], "click on a thing"),
        (_changed(value=[]), "click on a thing"),
        (_changed(to_name="elsewhere"), "click on a thing"),
        (_changed(from_name="label_point"), "click on a thing"),
        (_placed(labels=[]), "choose the class first"),
        (_placed(labels=["unknown"]), "choose the class first"),
        (_placed(labels=["car", "road"]), "choose the class first"),
        ([*point(1, 1, label="car"), *point(2, 2, label="road", number=1)], "choose the class"),
        (_placed(x="7"), "x is 7, expected percent"),
        (_placed(y=None), "y is None, expected percent"),
        (_placed(x=True), "x is True, expected percent"),
        (_placed(x=1e400), "x is inf, expected percent"),
        (_placed(x=float("nan")), "x is nan, expected percent"),
        (_placed(height="3"), "height is 3, expected percent"),
        (_placed(height=3, rotation=20), "a turned box"),
        (_placed(height=0), "encloses nothing"),
        (_changed(original_width=None), "expected one (height, width)"),
        (_changed(original_width=[[]]), "expected one (height, width)"),
        (_changed(original_width=0), "expected one (height, width)"),
        (_changed(original_width=True), "expected one (height, width)"),
        ([*point(1, 1), *[{**e, "original_width": 9} for e in point(1, 1, number=1)]], "sizes of"),
        ([e for n in range(MAX_MARKS + 1) for e in point(1, 1, number=n)], "257 marks"),
    ],
)
def test_what_cannot_be_asked_is_named(result: Any, why: str) -> None:
    with pytest.raises(AnnotationError) as refused:
        read_prompts(result, CLASSES)
    assert why in str(refused.value)
