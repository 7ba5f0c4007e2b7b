"""Encoding a pre-annotation, and the diff merge of what the annotator did to it."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from flows.annotators import brush_rle
from flows.annotators.masks import (
    brush_region,
    changed_pixels,
    decode_annotation,
    encode_result,
)
from pipeline.errors import AnnotationError, DataError

CLASSES = ["sky", "building", "road", "car"]
SIZE = (6, 8)


@pytest.fixture
def mask_HW() -> np.ndarray:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[2:4] = 1
    mask[4:] = 2
    mask[0, 0] = 255
    return mask


@pytest.fixture
def sent(mask_HW: np.ndarray) -> list:
    return encode_result(mask_HW, CLASSES, "day/a/r0")


def _alpha(region: dict) -> np.ndarray:
    return brush_rle.decode(region["value"]["rle"], *SIZE)


def _with(result: list, index: int, alpha_HW: np.ndarray, label: str | None = None) -> list:
    """The result with one region repainted or relabelled, as Label Studio returns it."""
    changed = copy.deepcopy(result)
    old = changed[index]
    changed[index] = brush_region(
        alpha_HW, label or old["value"]["brushlabels"][0], region_id=old["id"]
    ) | {"origin": "prediction-changed"}
    return changed


def _painted(region: dict, rows: slice, columns: slice, value: int = 255) -> np.ndarray:
    alpha = _alpha(region)
    alpha[rows, columns] = value
    return alpha


def test_one_region_per_class_present(sent: list) -> None:
    assert [r["value"]["brushlabels"] for r in sent] == [["sky"], ["building"], ["road"]]
    assert all(len(r["id"]) == 10 and int(r["id"], 16) >= 0 for r in sent)
    assert {(r["original_height"], r["original_width"]) for r in sent} == {SIZE}


def test_region_ids_are_stable_and_differ_by_item_and_class(
    mask_HW: np.ndarray, sent: list
) -> None:
    assert encode_result(mask_HW, CLASSES, "day/a/r0") == sent
    other = encode_result(mask_HW, CLASSES, "day/a/r1")
    assert not {r["id"] for r in sent} & {r["id"] for r in other}
    assert len({r["id"] for r in sent}) == 3


def test_untouched_is_exact(mask_HW: np.ndarray, sent: list) -> None:
    decoded = decode_annotation(sent, sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(decoded, mask_HW)
    assert changed_pixels(decoded, sent, CLASSES) == 0


def test_without_pre_annotation_regions_are_taken_as_painted(
    mask_HW: np.ndarray, sent: list
) -> None:
    decoded = decode_annotation(sent, [], CLASSES, size=SIZE)
    np.testing.assert_array_equal(decoded, mask_HW)
    assert changed_pixels(decoded, [], CLASSES) == mask_HW.size - 1


@pytest.mark.parametrize("edited", [0, 1, 2])
@pytest.mark.parametrize("painted_over", [0, 1, 2])
def test_painting_over_another_class_wins_whatever_the_order(
    sent: list, mask_HW: np.ndarray, edited: int, painted_over: int
) -> None:
    """The trap: the edited region keeps its place, so the last region in the list would win."""
    rows = slice(2 * painted_over, 2 * painted_over + 2)
    result = _with(sent, edited, _painted(sent[edited], rows, slice(3, 5)))
    expected = mask_HW.copy()
    expected[rows, 3:5] = edited
    np.testing.assert_array_equal(decode_annotation(result, sent, CLASSES, size=SIZE), expected)


def test_erased_and_not_painted_again_is_ignored(sent: list, mask_HW: np.ndarray) -> None:
    result = _with(sent, 1, _painted(sent[1], slice(2, 3), slice(None), 0))
    expected = mask_HW.copy()
    expected[2] = 255
    decoded = decode_annotation(result, sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(decoded, expected)
    assert changed_pixels(decoded, sent, CLASSES) == 8


def test_erased_here_and_painted_there(sent: list, mask_HW: np.ndarray) -> None:
    result = _with(sent, 2, _painted(sent[2], slice(4, 5), slice(None), 0))
    result = _with(result, 0, _painted(sent[0], slice(4, 5), slice(0, 4)))
    expected = mask_HW.copy()
    expected[4] = 255
    expected[4, :4] = 0
    np.testing.assert_array_equal(decode_annotation(result, sent, CLASSES, size=SIZE), expected)


def test_a_relabelled_region_yields_to_what_is_painted_on_it(
    sent: list, mask_HW: np.ndarray
) -> None:
    """Building becomes car, and sky (earlier in the list) is painted onto its first row."""
    result = _with(sent, 1, _alpha(sent[1]), "car")
    result = _with(result, 0, _painted(sent[0], slice(2, 3), slice(None)))
    expected = mask_HW.copy()
    expected[2], expected[3] = 0, 3
    np.testing.assert_array_equal(decode_annotation(result, sent, CLASSES, size=SIZE), expected)


def test_a_new_region_wins_over_what_was_proposed(sent: list, mask_HW: np.ndarray) -> None:
    car = np.zeros(SIZE, dtype=np.uint8)
    car[3:5, 2:6] = 255
    result = [*sent, brush_region(car, "car", region_id="manual0001")]
    expected = mask_HW.copy()
    expected[3:5, 2:6] = 3
    np.testing.assert_array_equal(decode_annotation(result, sent, CLASSES, size=SIZE), expected)


def test_a_deleted_region_leaves_no_label(sent: list, mask_HW: np.ndarray) -> None:
    expected = np.where(mask_HW == 1, 255, mask_HW)
    decoded = decode_annotation([sent[0], sent[2]], sent, CLASSES, size=SIZE)
    np.testing.assert_array_equal(decoded, expected)


def test_an_empty_result_is_an_image_without_labels(sent: list) -> None:
    assert (decode_annotation([], sent, CLASSES, size=SIZE) == 255).all()


@pytest.mark.parametrize(("alpha", "painted"), [(0, False), (127, False), (128, True)])
def test_soft_edges_count_from_the_middle(sent: list, alpha: int, painted: bool) -> None:
    result = _with(sent, 2, _painted(sent[2], slice(2, 3), slice(0, 1), alpha))
    decoded = decode_annotation(result, sent, CLASSES, size=SIZE)
    assert decoded[2, 0] == (2 if painted else 1)


def _broken(change: dict, value: dict | None = None) -> dict:
    region = brush_region(np.full(SIZE, 255, dtype=np.uint8), "sky", region_id="x" * 10)
    return region | change | {"value": region["value"] | (value or {})}


@pytest.mark.parametrize(
    ("region", "complaint"),
    [
        (_broken({}, {"brushlabels": ["tree"]}), "label 'tree' is none of the classes: sky, "),
        (_broken({}, {"brushlabels": []}), "expected one class"),
        (_broken({}, {"brushlabels": ["sky", "road"]}), "expected one class"),
        (_broken({}, {"brushlabels": [["sky"]]}), "is none of the classes"),
        (_broken({"type": "polygonlabels"}), "type 'polygonlabels', expected 'brushlabels'"),
        (_broken({"original_width": 9}), r"size \(6, 9\).*image is \(6, 8\)"),
        (_broken({"original_height": None}), r"size \(None, 8\)"),
        (_broken({"image_rotation": 90}), "rotated by 90"),
        (_broken({}, {"rle": [0, 1, 2]}), "region 1 of 1: brush mask is truncated"),
        (_broken({}, {"rle": None}), "expected a list"),
        (_broken({}, {"format": "png"}), "format 'rle'"),
        (_broken({}) | {"value": None}, "format 'rle'"),
        ("sky", "type 'str'"),
        (None, "type 'NoneType'"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(region: object, complaint: str) -> None:
    with pytest.raises(AnnotationError, match=complaint):
        decode_annotation([region], [], CLASSES, size=SIZE)  # type: ignore[list-item]


def test_a_result_that_is_no_list_is_refused() -> None:
    with pytest.raises(AnnotationError, match="expected a list of regions"):
        decode_annotation({"a": 1}, [], CLASSES, size=SIZE)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [4, 254])
def test_a_class_that_does_not_exist_is_not_sent(mask_HW: np.ndarray, value: int) -> None:
    mask_HW[0, 1] = value
    with pytest.raises(DataError, match=f"day/a/r0: class index {value}"):
        encode_result(mask_HW, CLASSES, "day/a/r0")


def test_only_class_index_masks_are_sent() -> None:
    with pytest.raises(DataError, match="expected class indices"):
        encode_result(np.zeros((2, 2, 3), dtype=np.uint8), CLASSES, "day/a/r0")
