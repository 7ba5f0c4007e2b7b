"""What counts as a part that is painted wrongly, and which comes first."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.label_errors.masks_judged import judge_masks
from pipeline.label_errors.out_of_fold import cross_fit
from pipeline.label_errors.reviewed_masks import box_of
from pipeline.label_errors.suspect_components import suspects
from pipeline.types import IGNORE

NO_THRESHOLDS = np.zeros(3)


def seen_as(classes_hw: np.ndarray, sure: float = 0.98, num_classes: int = 3) -> np.ndarray:
    """A model that gives `sure` to these classes."""
    rest = (1 - sure) / (num_classes - 1)
    probs = np.full((*classes_hw.shape, num_classes), rest, np.float32)
    np.put_along_axis(probs, classes_hw[..., None].astype(np.intp), sure, axis=-1)
    return probs


def scene() -> np.ndarray:
    """A thing of class 1 on class 0, and a strip of class 2."""
    truth = np.zeros((20, 20), np.uint8)
    truth[4:10, 4:10] = 1
    truth[15:] = 2
    return truth


def test_a_thing_that_was_not_painted_is_found_where_it_is() -> None:
    truth, painted = scene(), scene()
    painted[painted == 1] = 0
    (found,) = suspects(seen_as(truth), painted, NO_THRESHOLDS)
    assert (found.painted, found.likeliest, found.sure) == (0, 1, True)
    assert np.array_equal(found.cells_hw, truth == 1)
    assert found.quality == pytest.approx(0.01)


def test_a_whole_thing_comes_before_a_border_of_the_same_size() -> None:
    truth = scene()
    painted = truth.copy()
    painted[13:15] = 2  # 40 cells along the strip's border
    painted[truth == 1] = 2  # 36 cells, all of a thing
    first, second = suspects(seen_as(truth), painted, NO_THRESHOLDS)
    assert np.array_equal(first.cells_hw, truth == 1)
    assert second.cells_hw[13:15].all()
    assert first.score > second.score


def test_what_the_model_is_unsure_about_is_no_suspect() -> None:
    truth, painted = scene(), scene()
    painted[painted == 1] = 0
    assert suspects(seen_as(truth, sure=0.7), painted, NO_THRESHOLDS) == []


def test_unpainted_pixels_and_single_cells_are_no_suspects() -> None:
    truth, painted = scene(), scene()
    painted[painted == 1] = IGNORE
    painted[0, 0] = 2
    assert suspects(seen_as(truth), painted, NO_THRESHOLDS) == []


def test_it_says_where_only_the_painted_class_is_ruled_out() -> None:
    truth, painted = scene(), scene()
    painted[painted == 1] = 0
    (found,) = suspects(seen_as(truth), painted, np.array([0, 0.99, 0]))
    assert found.likeliest == 1
    assert not found.sure


def test_the_box_of_cells_is_in_pixels() -> None:
    cells = np.zeros((10, 20), bool)
    cells[2:5, 4:6] = True
    assert box_of(cells, (100, 400)) == (80, 20, 40, 30)


def features(num: int = 12, side: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Cells whose first three numbers say their class, with noise, and the classes."""
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, (num, side * side)).astype(np.uint8)
    masks[:, : 2 * side] = 0
    cells = rng.normal(0, 0.3, (num, side * side, 6))
    np.put_along_axis(cells, masks[..., None].astype(np.intp), 2.0, axis=-1)
    return cells.astype(np.float16), masks


def test_the_mask_with_an_error_comes_first_though_the_model_learns_from_it_too() -> None:
    cells, masks = features()
    masks[7, :16] = 2
    judged = judge_masks(cells, masks, (8, 8), 3)
    assert judged[0].row == 7
    assert (judged[0].suspects[0].painted, judged[0].suspects[0].likeliest) == (2, 0)
    assert judged[0].quality == min(one.quality for one in judged)


def test_no_head_learnt_from_the_mask_that_it_judges() -> None:
    cells, masks = features(num=6)
    before = cross_fit(cells, masks, 3)
    other = masks.copy()
    other[2] = 1
    after = cross_fit(cells, other, 3)
    assert np.array_equal(before.probs(2), after.probs(2))
    rows = [row for row in range(6) if before.fold_N[row] != before.fold_N[2]]
    assert any(not np.array_equal(before.probs(row), after.probs(row)) for row in rows)


def test_one_mask_has_no_other_to_be_judged_by() -> None:
    cells, masks = features(num=1)
    with pytest.raises(ValueError, match="two at least"):
        cross_fit(cells, masks, 3)
