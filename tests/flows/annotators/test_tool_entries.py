"""Every tool's entries as Label Studio 1.23.2 gives them: a shape, and a label with that shape."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.annotators import brush_rle
from flows.annotators.masks import encode_result, read_annotation
from pipeline.errors import AnnotationError
from tests.flows.annotators.tools.test_bitmask import black, url_of

CLASSES = ["sky", "building", "road", "car"]
SIZE = (6, 8)
SKY, BUILDING, ROAD, CAR = range(4)
PAINT = np.zeros(SIZE, dtype=np.uint8)
PAINT[1:3, 2:6] = 255
BOX = {"x": 25, "y": 100 / 6, "width": 50, "height": 100 / 3, "rotation": 0}
CORNERS = [[25, 100 / 6], [75, 100 / 6], [75, 50], [25, 50]]
# What each tool leaves where rows 1, 2 and columns 2..5 are drawn.
DRAWN: dict[str, tuple[str, dict[str, Any]]] = {
    "brush": ("label_brush", {"format": "rle", "rle": brush_rle.encode(PAINT)}),
    "magicwand": ("label_wand", {"format": "rle", "rle": brush_rle.encode(PAINT)}),
    "bitmask": ("label_bitmask", {"imageDataURL": url_of(black(PAINT))}),
    "polygon": ("label_polygon", {"points": CORNERS, "closed": True}),
    "rectangle": ("label_rectangle", BOX),
}


def drawn(kind: str, label: Any = "car", region_id: str = "new", **value: Any) -> list[dict]:
    """Both entries of a region; without a label only what was drawn."""
    name, place = DRAWN[kind]
    common = {"id": region_id, "to_name": "image", "origin": "manual", "image_rotation": 0}
    common |= {"original_width": 8, "original_height": 6}
    first = {**common, "type": kind, "from_name": name, "value": place | value}
    if label is None:
        return [first]
    labels = label if isinstance(label, list) else [label]
    second = {"type": "labels", "from_name": "label", "value": first["value"] | {"labels": labels}}
    return [first, common | second]


@pytest.fixture
def scene() -> np.ndarray:
    mask = np.full(SIZE, SKY, dtype=np.uint8)
    mask[2:4] = BUILDING
    mask[4:] = ROAD
    return mask


@pytest.fixture
def sent(scene: np.ndarray) -> list:
    return encode_result(scene, CLASSES, "day/a/r0")


def with_car(scene: np.ndarray, index: int = CAR) -> np.ndarray:
    return np.where(PAINT > 0, index, scene)


@pytest.mark.parametrize("kind", DRAWN)
def test_what_a_tool_drew_is_read_once_and_nothing_is_said(
    kind: str, scene: np.ndarray, sent: list
) -> None:
    mask_HW, beside = read_annotation([*sent, *drawn(kind)], sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(mask_HW, with_car(scene))
    assert beside == ""


@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_drawn_last_counts_whichever_tool_drew_it(kind: str) -> None:
    whole = {"x": 0, "y": 0, "width": 100, "height": 100}
    below = drawn("rectangle", "road", "below", **whole)
    mask_HW, _ = read_annotation([*below, *drawn(kind)], [], CLASSES, size=SIZE)
    np.testing.assert_array_equal(mask_HW, with_car(np.full(SIZE, ROAD)))
    mask_HW, _ = read_annotation([*drawn(kind), *below], [], CLASSES, size=SIZE)
    assert (mask_HW == ROAD).all()


@pytest.mark.parametrize("kind", DRAWN)
def test_unknown_is_a_label_of_its_own(kind: str, scene: np.ndarray, sent: list) -> None:
    mask_HW, beside = read_annotation([*sent, *drawn(kind, "unknown")], sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(mask_HW, with_car(scene, 255))
    assert beside == ""
    named = [*CLASSES[:3], "unknown"]  # where a class is called so, it is that class
    mask_HW, _ = read_annotation(drawn(kind, "unknown"), [], named, size=SIZE)
    np.testing.assert_array_equal(mask_HW, with_car(np.full(SIZE, 255), CAR))


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("label", [None, [], ["tree"], ["sky", "car"]])
def test_what_was_drawn_without_one_class_is_unknown_and_costs_nothing_else(
    kind: str, label: Any, scene: np.ndarray, sent: list
) -> None:
    result = [*sent, *drawn(kind, label)]
    mask_HW, beside = read_annotation(result, sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(mask_HW, with_car(scene, 255))
    assert "its 8 pixel(s) are left unknown" in beside


def test_points_and_lines_of_our_labels_are_remarks(scene: np.ndarray, sent: list) -> None:
    point = drawn("rectangle")[1] | {"value": {"x": 9, "y": 9, "width": 1, "labels": ["car"]}}
    line = point | {"value": {"vertices": [{"x": 0, "y": 0}], "labels": ["car"]}}
    mask_HW, beside = read_annotation([*sent, point, line], sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(mask_HW, scene)
    assert "entry 4: 'labels' says nothing about pixels; entry 5: 'labels'" in beside


def test_a_label_without_its_shape_does_not_hide_what_was_drawn(
    scene: np.ndarray, sent: list
) -> None:
    first, second = drawn("polygon")
    result = [*sent, first, second | {"value": {"labels": ["car"]}}]
    mask_HW, beside = read_annotation(result, sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(mask_HW, with_car(scene, 255))
    assert "left unknown" in beside


def test_choices_and_notes_on_a_region_of_any_tool_are_remarks(
    scene: np.ndarray, sent: list
) -> None:
    first, second = drawn("polygon")
    choice = first | {"type": "choices", "from_name": "q"}
    choice["value"] = {**first["value"], "choices": ["wet"]}
    result = [*sent, first, second | {"meta": {"text": ["dirty"]}}, choice]
    mask_HW, beside = read_annotation(result, sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(mask_HW, with_car(scene))
    assert beside == "entry 5: a note on the region; entry 6: 'choices' says nothing about pixels"


def test_a_proposed_region_that_was_painted_on_by_another_tool_keeps_its_place(
    scene: np.ndarray, sent: list
) -> None:
    """A new shape lies over it; the proposed region itself is compared as ever."""
    result = copy.deepcopy(sent)
    result[SKY]["origin"] = "prediction-changed"
    grown = PAINT.copy()
    grown[:2] = 255
    result[SKY]["value"]["rle"] = brush_rle.encode(grown)
    mask_HW, beside = read_annotation([*result, *drawn("polygon")], sent, CLASSES, size=SIZE)
    expected = np.where(grown > 0, SKY, scene)
    np.testing.assert_array_equal(mask_HW, np.where(PAINT > 0, 255, expected))
    assert beside.startswith("8 pixel(s) lie in two regions")


@pytest.mark.parametrize(
    ("kind", "value", "named"),
    [
        ("polygon", {"points": [[1, float("nan")]]}, "region 5 of 5: y of a point is nan"),
        ("rectangle", {"width": None}, "width is None"),
        ("bitmask", {"imageDataURL": "data:"}, "no text that begins"),
        ("brush", {"rle": [1]}, "truncated"),
    ],
)
def test_damage_makes_the_answer_unreadable(kind: str, value: dict, named: str, sent: list) -> None:
    with pytest.raises(AnnotationError, match=named):
        read_annotation([*sent, *drawn(kind, **value)], sent, CLASSES, size=SIZE)


def test_a_shape_on_a_turned_image_is_refused(sent: list) -> None:
    first, second = drawn("polygon")
    with pytest.raises(AnnotationError, match="rotated by 90"):
        read_annotation([*sent, first, second | {"image_rotation": 90}], sent, CLASSES, size=SIZE)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["rectangle", "polygon", "bitmask", "brush"]),
        st.sampled_from([*CLASSES, "unknown"]),
        st.integers(0, 5),
        st.integers(1, 6),
        st.integers(0, 7),
        st.integers(1, 8),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(ACTS, st.sampled_from([None, *CLASSES]))
def test_acts_one_after_the_other_give_what_a_painter_would_see(
    acts: list, background: str | None
) -> None:
    """The second writing: a canvas onto which every act is painted in turn."""
    canvas = np.full(SIZE, 255 if background is None else CLASSES.index(background))
    result: list[dict] = []
    for number, (kind, label, top, height, left, width) in enumerate(acts):
        where = np.s_[top : top + height, left : left + width]
        canvas[where] = [*CLASSES, "unknown"].index(label) if label != "unknown" else 255
        alpha = np.zeros(SIZE, dtype=np.uint8)
        alpha[where] = 255
        x, y, x2, y2 = left * 12.5, top / 6 * 100, (left + width) * 12.5, (top + height) / 6 * 100
        value = {
            "rectangle": {"x": x, "y": y, "width": x2 - x, "height": y2 - y},
            "polygon": {"points": [[x, y], [x2, y], [x2, y2], [x, y2]]},
            "bitmask": {"imageDataURL": url_of(black(alpha))},
            "brush": {"rle": brush_rle.encode(alpha)},
        }[kind]
        result += drawn(kind, label, f"r{number}", **value)
    if not acts and background is None:
        return
    mask_HW, beside = read_annotation(result, [], CLASSES, size=SIZE, background=background)
    np.testing.assert_array_equal(mask_HW, canvas)
    assert beside == ""
