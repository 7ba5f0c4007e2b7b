"""Encoding a pre-annotation, and the diff merge of what the annotator did to it."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from flows.annotators import brush_rle
from flows.annotators.masks import (
    BRUSH_LABELS,
    LABELS,
    as_painted,
    brush_region,
    changed_pixels,
    decode_annotation,
    encode_result,
    labels_for,
    read_annotation,
)
from flows.annotators.simulated_strokes import label_of
from pipeline.errors import AnnotationError, DataError
from pipeline.records.regions import Box, kept_inside

CLASSES = ["sky", "building", "road", "car"]
SIZE = (6, 8)


@pytest.fixture
def mask_HW() -> np.ndarray:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[2:4] = 1
    mask[4:] = 2
    mask[0, 0] = 255
    return mask


@pytest.fixture(params=[LABELS, BRUSH_LABELS])
def sent(mask_HW: np.ndarray, request: pytest.FixtureRequest) -> list:
    """As the loop sends it; BRUSH_LABELS in projects of older versions."""
    return encode_result(mask_HW, CLASSES, "day/a/r0", request.param)


def _alpha(region: dict) -> np.ndarray:
    return brush_rle.decode(region["value"]["rle"], *SIZE)


def _with(result: list, index: int, alpha_HW: np.ndarray, label: str | None = None) -> list:
    """The result with one region repainted or relabelled, as Label Studio returns it."""
    changed = copy.deepcopy(result)
    old = changed[index]
    changed[index] = brush_region(
        alpha_HW, label or label_of(old), region_id=old["id"], kind=old["type"]
    ) | {"origin": "prediction-changed"}
    return changed


def _painted(region: dict, rows: slice, columns: slice, value: int = 255) -> np.ndarray:
    alpha = _alpha(region)
    alpha[rows, columns] = value
    return alpha


def test_one_region_per_class_present(sent: list) -> None:
    assert [label_of(region) for region in sent] == ["sky", "building", "road"]
    assert all(len(r["id"]) == 10 and int(r["id"], 16) >= 0 for r in sent)
    assert {(r["original_height"], r["original_width"]) for r in sent} == {SIZE}


def test_region_ids_are_stable_and_differ_by_item_and_class(
    mask_HW: np.ndarray, sent: list
) -> None:
    assert encode_result(mask_HW, CLASSES, "day/a/r0", sent[0]["type"]) == sent
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


def _edited(result: list, *indices: int) -> list:
    """The result with regions that Label Studio calls edited."""
    return [
        region | {"origin": "prediction-changed" if i in indices else "prediction"}
        for i, region in enumerate(result)
    ]


OVER = np.s_[4:6, 2:5]  # where building is painted over road


def test_painted_too_far_and_painted_back_on_the_proposed_region_is_unknown(
    sent: list, mask_HW: np.ndarray
) -> None:
    """The road's own pixels do not change by painting it back; only its origin does."""
    result = _with(sent, 1, _painted(sent[1], *OVER))
    mask, beside = read_annotation(_edited(result, 1, 2), sent, CLASSES, size=SIZE)
    expected = mask_HW.copy()
    expected[OVER] = 255
    np.testing.assert_array_equal(mask, expected)
    assert beside.startswith("6 pixel(s) lie in two regions")
    assert "press Esc" in beside


def test_painted_back_over_its_edge_is_unknown_where_both_hold_it(
    sent: list, mask_HW: np.ndarray
) -> None:
    result = _with(sent, 1, _painted(sent[1], *OVER))
    result = _with(result, 2, _painted(sent[2], slice(3, 4), slice(2, 3)))
    mask, beside = read_annotation(_edited(result, 1, 2), sent, CLASSES, size=SIZE)
    expected = mask_HW.copy()
    expected[OVER] = expected[3, 2] = 255
    np.testing.assert_array_equal(mask, expected)
    assert beside.startswith("7 pixel(s)")


def _new(where: tuple[slice, slice], label: str, number: int) -> dict:
    alpha = np.zeros(SIZE, dtype=np.uint8)
    alpha[where] = 255
    region = brush_region(alpha, label, region_id=f"manual{number}")
    return region | {"origin": "manual"}


def test_painted_too_far_and_painted_back_as_new_regions_is_what_was_painted(
    sent: list, mask_HW: np.ndarray
) -> None:
    """As the instruction says: Esc, key, paint. List order is the order of painting."""
    result = [*_edited(sent), _new(OVER, "building", 1), _new(np.s_[5:6, 2:8], "road", 2)]
    mask, beside = read_annotation(result, sent, CLASSES, size=SIZE)
    expected = mask_HW.copy()
    expected[4, 2:5] = 1
    np.testing.assert_array_equal(mask, expected)
    assert beside == ""
    again = [*result, _new(np.s_[5:6, 4:5], "building", 3)]
    expected[5, 4] = 1
    np.testing.assert_array_equal(decode_annotation(again, sent, CLASSES, size=SIZE), expected)


def test_without_a_pre_annotation_the_region_begun_last_counts() -> None:
    everything, over, back = np.s_[0:6, 0:8], np.s_[2:4, 2:6], np.s_[2:4, 4:6]
    result = [_new(everything, "road", 1), _new(over, "car", 2), _new(back, "road", 3)]
    expected = np.full(SIZE, 2)
    expected[2:4, 2:4] = 3
    np.testing.assert_array_equal(decode_annotation(result, [], CLASSES, size=SIZE), expected)


def test_a_new_region_where_a_proposed_one_was_painted_on_is_unknown_unless_they_agree(
    sent: list, mask_HW: np.ndarray
) -> None:
    result = _with(sent, 1, _painted(sent[1], *OVER))
    car = [*_edited(result, 1), _new(np.s_[4:5, 2:5], "car", 1), _new(np.s_[0:1, 2:5], "car", 2)]
    mask, beside = read_annotation(car, sent, CLASSES, size=SIZE)
    expected = mask_HW.copy()
    expected[OVER], expected[4, 2:5], expected[0, 2:5] = 1, 255, 3
    np.testing.assert_array_equal(mask, expected)
    assert beside.startswith("3 pixel(s)")
    building = [*_edited(result, 1), _new(OVER, "building", 1)]
    mask, beside = read_annotation(building, sent, CLASSES, size=SIZE)
    assert (mask[OVER] == 1).all()
    assert beside == ""


@pytest.mark.parametrize("how", ["erased", "relabelled", "note", "value"])
def test_an_edit_that_is_no_painting_leaves_what_is_painted_over(sent: list, how: str) -> None:
    """Erasing, another label, a note: the origin says "changed", but not by paint."""
    result = _edited([*sent, _new(OVER, "car", 1)], 2)
    result[3]["origin"] = "manual"
    road = result[2]
    if how == "erased":
        result[2] = _with(sent, 2, _painted(sent[2], slice(5, 6), slice(7, 8), 0))[2]
    elif how == "relabelled":
        road["value"] = road["value"] | {road["type"]: ["sky"]}
    elif how == "note":
        road["meta"] = {"text": ["wet"]}
    else:
        result.append({"id": road["id"], "type": "choices", "value": {"choices": ["wet"]}})
    mask = decode_annotation(result, sent, CLASSES, size=SIZE)
    assert (mask[OVER] == 3).all()
    assert mask[5, 0] == (0 if how == "relabelled" else 2)


@pytest.mark.parametrize("value", [4, 254])
def test_a_class_that_does_not_exist_is_not_sent(mask_HW: np.ndarray, value: int) -> None:
    mask_HW[0, 1] = value
    with pytest.raises(DataError, match=f"day/a/r0: class index {value}"):
        encode_result(mask_HW, CLASSES, "day/a/r0")


def test_only_class_index_masks_are_sent() -> None:
    with pytest.raises(DataError, match="expected class indices"):
        encode_result(np.zeros((2, 2, 3), dtype=np.uint8), CLASSES, "day/a/r0")


def test_what_is_left_bare_is_background(sent: list, mask_HW: np.ndarray) -> None:
    """Erased, deleted, or never painted; UNKNOWN and what nobody can order stay without a class."""
    result = _with(sent, 1, _painted(sent[1], slice(2, 3), slice(None), 0))[:2]
    unknown = _new(np.s_[0:1, 4:8], "unknown", 1)
    decoded = decode_annotation([*result, unknown], sent, CLASSES, size=SIZE, background="road")
    expected = np.where(mask_HW == 255, 2, mask_HW)
    expected[2], expected[0, 4:8] = 2, 255
    np.testing.assert_array_equal(decoded, expected)
    assert (decode_annotation([*result, unknown], sent, CLASSES, size=SIZE)[4:] == 255).all()
    over = _edited(_with(sent, 1, _painted(sent[1], *OVER)), 1, 2)
    mask, beside = read_annotation(over, sent, CLASSES, size=SIZE, background="car")
    assert (mask[OVER] == 255).all()
    assert mask[0, 0] == 3
    assert beside.startswith("6 pixel(s)")


def test_nothing_painted_says_that_all_is_background(sent: list, mask_HW: np.ndarray) -> None:
    remark = {"id": "c", "type": "choices", "value": {"choices": ["blurred"]}}
    for result in ([], [remark]):
        mask, _ = read_annotation(result, sent, CLASSES, size=SIZE, background="sky")
        assert (mask == 0).all()
        assert changed_pixels(mask, sent, CLASSES, "sky") == int((mask_HW > 0).sum()) - 1
    assert changed_pixels(np.zeros(SIZE, np.uint8), [], CLASSES, "sky") == 0


def test_paint_without_a_class_is_no_background(sent: list) -> None:
    """Somebody painted and forgot to say what: that is not "nothing to see here"."""
    nameless = _new(np.s_[0:2, 0:2], "sky", 1)
    nameless["value"][nameless["type"]] = []
    with pytest.raises(AnnotationError, match="no brush with a class"):
        read_annotation([nameless], [], CLASSES, size=SIZE, background="sky")
    mask, _ = read_annotation([*sent, nameless], sent, CLASSES, size=SIZE, background="sky")
    assert (mask[:2, :2] == 255).all()


def test_the_background_painted_back_over_a_stroke_of_ones_own() -> None:
    result = [_new(np.s_[0:6, 0:8], "car", 1), _new(np.s_[2:4, 2:6], "sky", 2)]
    expected = np.full(SIZE, 3)
    expected[2:4, 2:6] = 0
    decoded = decode_annotation(result, [], CLASSES, size=SIZE, background="sky")
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("background", [None, "sky", "car"])
def test_what_is_painted_for_a_mask_decodes_to_it(
    mask_HW: np.ndarray, background: str | None
) -> None:
    painted = as_painted(mask_HW, CLASSES, background)
    labels = labels_for(CLASSES, background)
    result = encode_result(painted, labels, "day/a/r0")
    assert background not in {label_of(region) for region in result}
    decoded = decode_annotation(result, [], CLASSES, size=SIZE, background=background)
    np.testing.assert_array_equal(decoded, mask_HW)
    np.testing.assert_array_equal(as_painted(mask_HW, CLASSES, None), mask_HW)


def test_outside_the_regions_that_were_asked_for_nothing_counts_as_changed() -> None:
    box = Box(2, 1, 3, 2)
    answered = kept_inside(np.full(SIZE, 3, np.uint8), (box,))
    assert changed_pixels(answered, [], CLASSES, "car", (box,)) == 0
    assert changed_pixels(answered, [], CLASSES, "sky", (box,)) == box.num_pixels
