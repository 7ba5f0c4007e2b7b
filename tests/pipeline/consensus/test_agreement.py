"""Agreement of two masks, in areas and along borders."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.consensus.agreement import agreement, mean_jaccard
from pipeline.types import IGNORE


def square(left: int) -> np.ndarray:
    """A thing of 10 x 10 pixels of class 1."""
    mask = np.zeros((30, 30), np.uint8)
    mask[10:20, left : left + 10] = 1
    return mask


def test_equal_masks_agree_wholly() -> None:
    found = agreement(square(10), square(10))
    assert set(found) == {0, 1}
    assert all(one.jaccard == 1 and one.boundary_f == 1 for one in found.values())
    assert mean_jaccard(found) == 1


def test_a_thing_moved_by_two_pixels_has_the_same_border_within_two() -> None:
    one, other = square(10), square(12)
    found = agreement(one, other, tolerance_px=2)[1]
    assert found.jaccard == pytest.approx(80 / 120)
    assert found.boundary_f == 1
    within_one = agreement(one, other, tolerance_px=1)[1].boundary_f
    assert within_one is not None
    assert within_one < 1


def test_it_is_symmetric() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 3, (20, 20)).astype(np.uint8) for _ in range(2))
    there, back = agreement(one, other), agreement(other, one)
    for index, found in there.items():
        assert found.jaccard == back[index].jaccard
        assert found.boundary_f == pytest.approx(back[index].boundary_f)


def test_unlabelled_pixels_of_either_do_not_count() -> None:
    one, other = square(10), square(10)
    other[:, 15:] = IGNORE
    assert all(c.jaccard == 1 and c.boundary_f in (1, None) for c in agreement(one, other).values())
    assert agreement(one, np.full_like(one, IGNORE)) == {}
    assert mean_jaccard({}) is None


def test_a_class_that_one_alone_gave_is_disagreed_on() -> None:
    one = np.zeros((30, 30), np.uint8)
    found = agreement(one, square(10))[1]
    assert (found.jaccard, found.boundary_f) == (0, 0)


def test_images_are_added_up_before_they_are_divided() -> None:
    first = agreement(square(10), square(15))[1]
    second = agreement(square(10), square(10))[1]
    both = first.plus(second)
    assert both.jaccard == pytest.approx((50 + 100) / (150 + 100))
