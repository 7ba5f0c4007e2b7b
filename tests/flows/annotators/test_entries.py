"""Foreign entries beside good brushes: what can be read is read, the rest is named.

In projects of older versions, whose only tool was a brush; `test_tool_entries` has the others.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from flows.annotators.masks import BRUSH_LABELS, brush_region, encode_result, read_annotation
from pipeline.errors import AnnotationError
from pipeline.types import IGNORE

CLASSES = ["sky", "building", "road", "car"]
SIZE = (6, 8)
SKY, BUILDING, ROAD, CAR = range(4)


@pytest.fixture
def scene() -> np.ndarray:
    mask = np.full(SIZE, SKY, dtype=np.uint8)
    mask[2:4] = BUILDING
    mask[4:] = ROAD
    return mask


@pytest.fixture
def sent(scene: np.ndarray) -> list:
    return encode_result(scene, CLASSES, "day/a/r0", BRUSH_LABELS)


def brush(
    rows: slice = slice(0, 2), columns: slice = slice(0, 4), label: Any = "car", **more: Any
) -> dict[str, Any]:
    """A region of the person's own; `value` in `more` is put over its value."""
    alpha = np.zeros(SIZE, dtype=np.uint8)
    alpha[rows, columns] = 255
    region_id = more.pop("id", "manual0001")
    region = brush_region(alpha, label, region_id=region_id, kind=BRUSH_LABELS)
    return region | {"origin": "manual"} | more | {"value": region["value"] | more.get("value", {})}


def shape(kind: str, **value: Any) -> dict[str, Any]:
    ours = {"id": "s", "from_name": "shape", "to_name": "image", "type": kind}
    return {**ours, "original_width": 8, "original_height": 6, "image_rotation": 0, "value": value}


PER_REGION = {**brush(), "type": "textarea", "from_name": "t"}
REMARKS = [
    ({"id": "c", "type": "choices", "value": {"choices": ["good"]}}, "'choices' says nothing"),
    ({"id": "t", "type": "textarea", "value": {"text": ["a note"]}}, "'textarea' says nothing"),
    (PER_REGION | {"value": {**PER_REGION["value"], "text": ["x"]}}, "'textarea' says nothing"),
    ({"from_id": "a", "to_id": "b", "type": "relation", "direction": "right"}, "'relation' says"),
    ({"id": "n", "type": "number", "value": {"number": float("nan")}}, "'number' says nothing"),
    ({"id": "r", "type": "rating", "value": None}, "'rating' says nothing"),
    (shape("rectanglelabels", rectanglelabels=["damage"], x=1, y=1, width=5, height=5), "damage"),
    (shape("ellipse", x=50, y=50, radiusX=10, radiusY=20), "'ellipse' of"),
    (shape("polygon", points=[[0, 0], [9, 9], [9, 0]]), "'polygon' of"),
    (brush(from_name="dirt", value={"brushlabels": ["scratch"]}), "scratch"),
    (None, "NoneType, expected an object"),
    ("sky", "str, expected an object"),
    (7, "int, expected an object"),
    ([], "list, expected an object"),
    ({}, "None says nothing"),
    ({"type": ["brushlabels"]}, "says nothing"),
    ({"type": "brushlabels\x00", "value": {}}, r"'brushlabels\\x00' says nothing"),
    ({"type": "\ud800"}, r"\\ud800"),
]


@pytest.mark.parametrize("place", [0, 2, 3])
@pytest.mark.parametrize(("entry", "said"), REMARKS)
def test_a_remark_changes_no_pixel_and_is_named(
    scene: np.ndarray, sent: list, entry: Any, said: str, place: int
) -> None:
    result = copy.deepcopy(sent)
    result.insert(place, entry)
    mask_HW, beside = read_annotation(result, sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(mask_HW, scene)
    assert beside.startswith(f"entry {place + 1}: ")
    assert said.replace(r"\\", "\\") in beside
    assert beside.isprintable()
    beside.encode("utf-8")


UNCLEAR = [
    brush(value={"brushlabels": ["tree"]}),
    brush(value={"brushlabels": []}),
    brush(value={"brushlabels": None}),
    brush(value={"brushlabels": ["sky", "road"]}),
    brush(value={"brushlabels": ["sky", "tree"]}),
    brush(value={"brushlabels": [["sky"]]}),
    brush(value={"brushlabels": [None]}),
    brush(value={"brushlabels": {"sky": 1}}),
    brush(value={"brushlabels": "tree"}),
    brush(value={"brushlabels": ["Sky"]}),
    brush(value={"brushlabels": ["sky "]}),
    brush(value={"brushlabels": ["\x00"]}),
    brush(type="brush", value={"brushlabels": None}),
    brush(type="magicwand", from_name="wand", value={"brushlabels": None}),
    brush(from_name="other"),
    brush(to_name="other"),
    brush(from_name=None),
    brush(type="polygonlabels"),
]


@pytest.mark.parametrize("entry", UNCLEAR)
def test_paint_whose_class_nobody_can_tell_is_unknown_not_what_lies_beneath(
    scene: np.ndarray, sent: list, entry: dict
) -> None:
    mask_HW, beside = read_annotation([*sent, entry], sent, CLASSES, size=SIZE)
    expected = scene.copy()
    expected[:2, :4] = IGNORE
    np.testing.assert_array_equal(mask_HW, expected)
    assert "entry 4: " in beside
    assert "its 8 pixel(s) are left unknown" in beside
    with pytest.raises(AnnotationError, match=r"no brush with a class: entry 1: .*left unknown"):
        read_annotation([entry], sent, CLASSES, size=SIZE)


def test_a_proposed_region_whose_label_was_taken_off_has_no_class(
    scene: np.ndarray, sent: list
) -> None:
    result = copy.deepcopy(sent)
    del result[BUILDING]["value"]["brushlabels"]
    result.append(brush(rows=slice(3, 4), columns=slice(0, 8), label="car"))
    mask_HW, beside = read_annotation(result, sent, CLASSES, size=SIZE)
    expected = scene.copy()
    expected[2], expected[3] = IGNORE, CAR
    np.testing.assert_array_equal(mask_HW, expected)
    assert "entry 2: 'brushlabels' with labels []" in beside


@pytest.mark.parametrize(
    ("entry", "rows", "columns"),
    [
        (shape("polygonlabels", polygonlabels=["car"], points=[[25, 50], [50, 50], [25, 66]]),
         slice(2, 5), slice(1, 5)),
        (shape("rectanglelabels", rectanglelabels=["car"], x=25, y=50, width=25, height=16),
         slice(2, 5), slice(1, 5)),
        (shape("rectanglelabels", rectanglelabels=["car"], x=0, y=0, width=99, height=99,
               rotation=30), slice(0, 6), slice(0, 8)),
        (shape("ellipselabels", ellipselabels=["car"], x=0, y=0, radiusX=12.5, radiusY=1),
         slice(0, 2), slice(0, 2)),
        (shape("keypointlabels", keypointlabels=["car"], x=100, y=100, width=1),
         slice(4, 6), slice(6, 8)),
        (shape("vectorlabels", vectorlabels=["car"], vertices=[{"x": 0, "y": 0}]),
         slice(0, 1), slice(0, 1)),
    ],
)  # fmt: skip
def test_the_box_around_a_shape_of_a_class_is_unknown(
    scene: np.ndarray, sent: list, entry: dict, rows: slice, columns: slice
) -> None:
    mask_HW, beside = read_annotation([*sent, entry], sent, CLASSES, size=SIZE)
    assert (mask_HW[rows, columns] == IGNORE).all()
    left = mask_HW != IGNORE
    np.testing.assert_array_equal(mask_HW[left], scene[left])
    assert (~left).sum() <= 2 * (mask_HW[rows, columns]).size
    assert "expected one of the classes" in beside


def test_an_empty_brush_beside_good_ones_paints_nothing(scene: np.ndarray, sent: list) -> None:
    mask_HW, beside = read_annotation([*sent, brush(value={"rle": []})], sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(mask_HW, scene)
    assert beside == "entry 4: 'car' without a pixel"


def test_unknown_keys_and_a_note_of_a_region_change_nothing(scene: np.ndarray, sent: list) -> None:
    result = [region | {"score": "high", "\ud800": None, "readonly": 1} for region in sent]
    result[1]["meta"] = {"text": ["blurred \x00"]}
    mask_HW, beside = read_annotation(result, sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(mask_HW, scene)
    assert beside == "entry 2: a note on the region"


def test_one_region_twice_is_itself_and_of_two_classes_nothing(
    scene: np.ndarray, sent: list
) -> None:
    mask_HW, beside = read_annotation([*sent, sent[ROAD]], sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(mask_HW, scene)
    assert not beside
    twin = copy.deepcopy(sent[ROAD])
    twin["value"]["brushlabels"] = ["car"]
    mask_HW, beside = read_annotation([*sent, twin], sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(mask_HW, np.where(scene == ROAD, IGNORE, scene))
    assert beside.startswith("16 pixel(s) lie in two regions")


DAMAGED = [
    (brush(original_width=9), r"size \(6, 9\).*image is \(6, 8\)"),
    (brush(original_width="8"), r"size \(6, '8'\)"),
    (brush(original_height=None), r"size \(None, 8\)"),
    (brush(original_height=float("nan")), r"size \(nan, 8\)"),
    (brush(original_height=True), r"size \(True, 8\)"),
    (brush(original_height="\x00"), r"size \('\\x00', 8\)"),
    (brush(image_rotation=90), "rotated by 90"),
    (brush(image_rotation="\x00"), r"rotated by '\\x00'"),
    (brush(image_rotation=float("nan")), "rotated by nan"),
    (brush(value={"rle": [0, 1, 2]}), "region 4 of 4: brush mask is truncated"),
    (brush(value={"rle": None}), "expected a list"),
    (brush(value={"rle": ["1"]}), "expected whole numbers"),
    (brush(value={"rle": [True]}), "holds 'True', expected whole numbers"),
    (brush(value={"rle": [1.0]}), "expected whole numbers"),
    (brush(value={"rle": [float("nan")]}), "holds 'nan'"),
    (brush(value={"rle": {}}), "expected a list"),
    (brush(value={"format": "png"}), "format 'rle'"),
    (brush() | {"value": None}, "format 'rle'"),
    (brush() | {"value": []}, "format 'rle'"),
    (brush(value={"brushlabels": ["tree"], "rle": [1]}), "truncated"),
    (shape("polygonlabels", polygonlabels=["car"]), "'polygonlabels' whose place cannot be told"),
    (shape("polygonlabels", polygonlabels=["car"], points=[]), "place cannot be told"),
    (shape("polygonlabels", polygonlabels=["car"], points=[["a", 1]]), "place cannot be told"),
    (shape("polygonlabels", polygonlabels=["car"], points=[[1]]), "place cannot be told"),
    (shape("rectanglelabels", rectanglelabels=["car"], x=float("nan"), y=1, width=1, height=1),
     "place cannot be told"),
    (shape("ellipselabels", ellipselabels=["car"], x=1, y=1, radiusX=float("inf"), radiusY=1),
     "place cannot be told"),
    (shape("bitmasklabels", bitmasklabels=["car"], imageDataURL="data:"), "place cannot be told"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "complaint"), DAMAGED)
def test_damage_makes_the_answer_unreadable_for_nobody_knows_its_pixels(
    sent: list, entry: dict, complaint: str
) -> None:
    with pytest.raises(AnnotationError, match=complaint) as caught:
        read_annotation([*sent, entry], sent, CLASSES, size=SIZE)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("result", [None, {"a": 1}, "[]", 3, float("nan"), True])
def test_a_result_that_is_no_list_is_refused(sent: list, result: Any) -> None:
    with pytest.raises(AnnotationError, match="expected a list of regions"):
        read_annotation(result, sent, CLASSES, size=SIZE)


def test_an_answer_without_any_brush_says_all_that_is_there_instead() -> None:
    result = [entry for entry, _ in REMARKS]
    with pytest.raises(AnnotationError, match=r"no brush with a class: entry 1: .*and 8 more"):
        read_annotation(result, [], CLASSES, size=SIZE)


_JUNK: list[Any] = [
    None, True, -1, 0, 2**70, float("nan"), float("inf"), "", "\x00", "\ud800", "sky", "90", [], {},
    [None], ["sky"], ["tree", 3], {"text": ["x"]}, {"points": [[1, 2]]}, {"brushlabels": ["car"]},
]  # fmt: skip


def _damaged(entry: Any, rng: np.random.Generator) -> Any:
    """An entry with one of its parts, or itself, replaced by something else."""
    if not isinstance(entry, dict) or rng.random() < 0.1:
        return _JUNK[rng.integers(len(_JUNK))]
    key = [*entry, "extra"][rng.integers(len(entry) + 1)]
    return {**entry, key: _damaged(entry.get(key), rng)}


@pytest.mark.heavy
def test_whatever_comes_no_pixel_gets_a_class_that_nobody_gave_it(
    scene: np.ndarray, sent: list
) -> None:
    """2,000 damaged answers: an AnnotationError, or the scene and the car with gaps."""
    rng = np.random.default_rng(0)
    read = 0
    for _ in range(2000):
        result: list[Any] = [*copy.deepcopy(sent), brush(), *(e for e, _ in REMARKS[:5])]
        for _ in range(rng.integers(1, 4)):
            place = rng.integers(len(result))
            result[place] = _damaged(result[place], rng)
        try:
            mask_HW, beside = read_annotation(result, sent, CLASSES, size=SIZE)
        except AnnotationError:
            continue
        read += 1
        json.dumps(beside).encode()
        assert beside.isprintable()
        painted = np.isin(mask_HW, [IGNORE, CAR]) | (mask_HW == scene)
        assert painted[:2, :4].all()
        given = ~np.isin(mask_HW, [IGNORE, *range(4)])
        assert not given.any()
    assert read > 700
