"""Acts that correct a pre-annotation, against a second, plain way to find them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.campaign.corrections import apply_to, corrections_of, only_corrected
from pipeline.errors import DataError
from pipeline.types import IGNORE

SHOWN = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
    ],
    dtype=np.uint8,
)
TRUTH = np.array(
    [
        [0, 2, 2, 2, 2, 255],
        [0, 2, 2, 2, 2, 255],
        [1, 2, 2, 2, 1, 1],
        [3, 1, 1, 1, 1, 0],
    ],
    dtype=np.uint8,
)


def flood(wrong: set[tuple[int, int]]) -> list[set[tuple[int, int]]]:
    """Connected parts by stepping from pixel to pixel."""
    parts = []
    while wrong:
        part, edge = set(), [min(wrong)]
        while edge:
            row, column = edge.pop()
            if (row, column) in wrong:
                wrong.discard((row, column))
                part.add((row, column))
                edge += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
        parts.append(part)
    return parts


def largest_first(shown: np.ndarray, truth: np.ndarray) -> list[tuple[int, set[tuple[int, int]]]]:
    found = []
    for index in range(4):
        wrong = {
            (int(row), int(column))
            for row, column in zip(*np.nonzero((shown != truth) & (truth == index)), strict=True)
        }
        found += [(index, part) for part in flood(wrong)]
    return sorted(found, key=lambda each: (-len(each[1]), each[0], min(each[1])))


def test_the_largest_wrong_area_comes_first_and_a_click_lies_deep_in_it() -> None:
    done = corrections_of(SHOWN, TRUTH, 9, "click")
    assert [each.class_index for each in done] == [2, 0, 3]  # of equal ones the lower class
    assert (done[0].rows.tolist(), done[0].columns.tolist()) == ([1], [2])  # 2 from every edge
    assert len(corrections_of(SHOWN, TRUTH, 1, "click")) == 1
    assert corrections_of(TRUTH, TRUTH, 9, "click") == []


def test_a_stroke_is_the_longest_line_through_the_deepest_pixel() -> None:
    first = corrections_of(SHOWN, TRUTH, 1, "stroke")[0]
    assert first.rows.tolist() == [1, 1, 1, 1]
    assert first.columns.tolist() == [1, 2, 3, 4]
    upright = corrections_of(SHOWN.T.copy(), TRUTH.T.copy(), 1, "stroke")[0]
    assert set(upright.columns.tolist()) == {1}


@pytest.mark.parametrize("act", ["click", "stroke"])
def test_random_masks_are_corrected_as_a_plain_search_says(act: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = rng.integers(0, 4, (7, 9)).astype(np.uint8)
        truth[rng.random((7, 9)) < 0.1] = IGNORE
        shown = np.where(rng.random((7, 9)) < 0.5, truth, rng.integers(0, 4, (7, 9)))
        shown = shown.astype(np.uint8)
        expected = largest_first(shown, truth)
        done = corrections_of(shown, truth, 100, act)  # type: ignore[arg-type]
        assert len(done) == len(expected)
        for one, (index, part) in zip(done, expected, strict=True):
            places = set(zip(one.rows.tolist(), one.columns.tolist(), strict=True))
            assert one.class_index == index
            assert places <= part
            assert act == "stroke" or len(places) == 1
        mask = np.full_like(truth, IGNORE)
        apply_to(mask, done)
        given = mask != IGNORE
        assert (mask[given] == truth[given]).all()
        assert not (given & (shown == truth)).any()


def test_where_nothing_is_shown_all_of_the_truth_is_wrong() -> None:
    nothing = np.full_like(TRUTH, IGNORE)
    done = corrections_of(nothing, TRUTH, 2, "click")
    sizes = {index: np.count_nonzero(index == TRUTH) for index in range(4)}
    assert done[0].class_index == 2 == max(sizes, key=sizes.__getitem__)


def test_an_answer_labels_what_differs_from_what_was_shown() -> None:
    answer = SHOWN.copy()
    answer[0, 1:4] = 2
    answer[3, 3] = IGNORE  # erased, and not painted again
    given = only_corrected(answer, SHOWN)
    assert (given[0, 1:4] == 2).all()
    assert (given == IGNORE).sum() == given.size - 3
    assert (only_corrected(answer, np.full_like(answer, IGNORE)) == answer).all()
    with pytest.raises(DataError, match=r"\(4, 6\)"):
        only_corrected(answer, SHOWN[:2])


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="expected two masks"):
        corrections_of(SHOWN, TRUTH[:2], 1, "click")
