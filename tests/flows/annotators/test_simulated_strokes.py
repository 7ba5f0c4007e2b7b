"""The hand of the simulated annotator: what it paints decodes to what it aimed at."""

from __future__ import annotations

import numpy as np
import pytest

from flows.annotators.brush_rle import decode
from flows.annotators.masks import (
    BRUSH_LABELS,
    LABELS,
    as_painted,
    changed_pixels,
    decode_annotation,
    encode_result,
    labels_for,
)
from flows.annotators.simulated_strokes import (
    Interface,
    aim,
    label_of,
    repaint,
    slip,
    undecodable,
)
from pipeline.errors import AnnotationError

CLASSES = ["sky", "building", "road", "car", "person"]
PAINTING = Interface(CLASSES, LABELS)
SIZE = (40, 52)


def _scene(seed: int, num_classes: int = len(CLASSES)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.integers(0, num_classes, (5, 7)), np.ones((8, 8), dtype=int))
    mask = mask[: SIZE[0], : SIZE[1]].astype(np.uint8)
    mask[rng.random(SIZE) < 0.02] = 255
    return mask


@pytest.mark.parametrize("seed", range(30))
def test_what_is_painted_decodes_to_what_was_aimed_at(seed: int) -> None:
    """Whether painted over or erased first, with soft edges, new, kept and vanished classes."""
    rng = np.random.default_rng(seed)
    before = encode_result(_scene(seed, num_classes=3), CLASSES, "item")
    target = _scene(seed + 1000)
    result = repaint(before, target, PAINTING, rng)
    np.testing.assert_array_equal(decode_annotation(result, before, CLASSES, size=SIZE), target)


def test_without_a_pre_annotation_regions_are_new() -> None:
    target = _scene(1)
    result = repaint([], target, PAINTING, np.random.default_rng(0))
    np.testing.assert_array_equal(decode_annotation(result, [], CLASSES, size=SIZE), target)
    assert {region["origin"] for region in result} == {"manual"}
    assert len({region["id"] for region in result}) == len(result)


def test_regions_that_nobody_touched_come_back_as_they_were() -> None:
    scene = _scene(2)
    before = encode_result(scene, CLASSES, "item")
    target = scene.copy()
    target[(scene == 0) & (np.arange(SIZE[1]) < 20)] = 1
    result = repaint(before, target, PAINTING, np.random.default_rng(0))
    *proposed, new = result
    assert [region["id"] for region in proposed] == [region["id"] for region in before]
    origins = {label_of(region): region["origin"] for region in proposed}
    assert origins["building"] == origins["road"] == origins["car"] == "prediction"
    assert (label_of(new), new["origin"]) == ("building", "manual")
    same = {r["id"]: r["value"] for r in before}
    assert all(r["value"] == same[r["id"]] for r in result if r["origin"] == "prediction")


def test_an_image_that_needs_nothing_is_submitted_as_proposed() -> None:
    before = encode_result(_scene(3), CLASSES, "item")
    result = repaint(before, _scene(3), PAINTING, np.random.default_rng(0))
    assert [{**r, "origin": "prediction"} for r in before] == result


def test_changed_edges_are_soft_and_only_they() -> None:
    scene = np.zeros(SIZE, dtype=np.uint8)
    scene[:, 26:] = 1
    before = encode_result(scene, CLASSES, "item")
    target = scene.copy()
    target[10:30, 20:26] = 1
    result = repaint(before, target, PAINTING, np.random.default_rng(0))
    alpha = decode(result[-1]["value"]["rle"], *SIZE)
    soft = (alpha > 0) & (alpha < 255)
    assert soft.any()
    assert not soft[:8].any()
    assert not soft[32:].any()
    assert not soft[:, :18].any()
    assert not soft[:, 28:].any()


def test_painting_over_leaves_the_pixel_in_both_regions_for_most_people() -> None:
    before = encode_result(_scene(4), CLASSES, "item")
    overlapping = 0
    for seed in range(40):
        result = repaint(before, _scene(5), PAINTING, np.random.default_rng(seed))
        alphas = [decode(region["value"]["rle"], *SIZE) > 127 for region in result]
        overlapping += int((np.sum(alphas, axis=0) > 1).any())
    assert 20 <= overlapping <= 36


def test_a_steady_hand_aims_at_the_truth() -> None:
    np.testing.assert_array_equal(
        aim(_scene(1), _scene(2), 0.0, np.random.default_rng(0)), _scene(2)
    )


def test_an_unsteady_hand_is_off_near_errors_only() -> None:
    truth = np.zeros((80, 80), dtype=np.uint8)
    truth[:, 40:] = 1
    before = truth.copy()
    before[:30, 30:50] = 2  # the model's only error
    target = aim(before, truth, 2.0, np.random.default_rng(3))
    off = target != truth
    assert 5 < off.sum() < 150
    assert not off[40:].any()
    assert (np.abs(np.argwhere(off)[:, 1] - 39.5) < 4).all()
    again = aim(before, truth, 2.0, np.random.default_rng(3))
    np.testing.assert_array_equal(target, again)


@pytest.mark.parametrize("seed", range(5))
def test_a_slip_gives_one_object_one_wrong_class(seed: int) -> None:
    scene = _scene(seed)
    slipped = slip(scene, len(CLASSES), np.random.default_rng(seed))
    wrong = slipped != scene
    assert 0 < wrong.sum() < scene.size / 8
    assert len(np.unique(scene[wrong])) == len(np.unique(slipped[wrong])) == 1
    assert not (scene[wrong] == 255).any()


def test_a_slip_needs_something_to_slip_on() -> None:
    empty = np.full(SIZE, 255, dtype=np.uint8)
    np.testing.assert_array_equal(slip(empty, 5, np.random.default_rng(0)), empty)


def test_an_undecodable_answer_is_one() -> None:
    before = encode_result(_scene(6), CLASSES, "item")
    broken = undecodable(before)
    assert changed_pixels(_scene(6), before, CLASSES) == 0  # the original is not touched
    with pytest.raises(AnnotationError, match="truncated"):
        decode_annotation(broken, before, CLASSES, size=SIZE)


@pytest.mark.parametrize("kind", [LABELS, BRUSH_LABELS])
@pytest.mark.parametrize("seed", range(4))
def test_with_a_background_that_class_is_erased_and_the_unknown_painted(
    seed: int, kind: str
) -> None:
    labels = labels_for(CLASSES, "road")
    painted = as_painted(_scene(seed, num_classes=3), CLASSES, "road")
    before = encode_result(painted, labels, "item", kind)
    assert "road" not in {label_of(region) for region in before}
    target = _scene(seed + 10)
    target[:3, :5] = 255
    aim_HW = as_painted(target, CLASSES, "road")
    result = repaint(before, aim_HW, Interface(labels, kind), np.random.default_rng(seed))
    assert "road" not in {label_of(region) for region in result}
    assert {region["type"] for region in result} == {kind}
    decoded = decode_annotation(result, before, CLASSES, size=SIZE, background="road")
    np.testing.assert_array_equal(decoded, target)
