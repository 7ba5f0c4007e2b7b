"""Areas by image: an interval of what was lost, and files that say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.metrics.per_image import (
    MIN_IMAGES,
    Areas,
    drop_interval,
    mious,
    read_areas,
    write_areas,
)


def judged(iou_N: np.ndarray, prefix: str = "day/") -> tuple[list[str], Areas]:
    """Two classes of 100 pixels in every image, both with this IoU: truth is covered to a part."""
    hits_NK = np.repeat(100 * iou_N[:, None], 2, axis=1)
    ids = [f"{prefix}{place:03}" for place in range(len(iou_N))]
    return ids, Areas(hits_NK, np.full_like(hits_NK, 100.0), hits_NK)


def test_miou_is_of_the_summed_areas() -> None:
    _, areas = judged(np.array([0.2, 0.8]))
    assert mious(areas, np.array([[1.0, 1.0], [3.0, 1.0]])) == pytest.approx([0.5, 0.35])


def test_a_class_without_a_true_pixel_is_in_no_mean() -> None:
    hits_NK, truth_NK = np.array([[4.0, 0], [0, 3]]), np.array([[4.0, 0], [0, 6]])
    areas = Areas(hits_NK, truth_NK, np.array([[4.0, 4], [0, 3]]))
    weights_RN = np.array([[1.0, 0], [0, 1], [1, 1]])
    assert mious(areas, weights_RN) == pytest.approx([1.0, 0.5, (1 + 3 / 10) / 2])


def test_the_interval_of_a_drop_covers_it_and_is_paired() -> None:
    rng = np.random.default_rng(0)
    difficulty_N = rng.uniform(0.2, 0.9, 40)
    low, high = drop_interval(judged(difficulty_N), judged(difficulty_N - 0.03))
    # The images differ much more than the two teachers do on each of them.
    assert low == pytest.approx(0.03)
    assert high == pytest.approx(0.03)
    noisy_N = difficulty_N - 0.03 + rng.normal(0, 0.02, 40)
    low, high = drop_interval(judged(difficulty_N), judged(noisy_N))
    assert low < 0.03 < high < low + 0.03
    assert drop_interval(judged(noisy_N), judged(noisy_N)) == (0.0, 0.0)


def test_only_common_images_count_and_too_few_give_none() -> None:
    then = judged(np.full(MIN_IMAGES, 0.6))
    names, areas = judged(np.full(MIN_IMAGES + 3, 0.5))  # three images more by now
    order = list(reversed(range(len(names))))
    now = [names[place] for place in order], areas.rows(order)
    assert drop_interval(then, now) == pytest.approx((0.1, 0.1))
    assert drop_interval(judged(np.full(MIN_IMAGES - 1, 0.6)), now) is None
    assert drop_interval(judged(np.full(20, 0.6), "dusk/"), now) is None


def test_files_say_the_same_and_equal_contents_are_equal_files(tmp_path: Path) -> None:
    ids, areas = judged(np.array([0.25, 0.5]))
    for name in ("a.npz", "b.npz"):
        write_areas(tmp_path / name, {"day": (ids, areas), "dusk": ([], areas.rows([]))})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = read_areas(tmp_path / "a.npz")
    assert (list(found), found["day"][0]) == (["day", "dusk"], ids)
    np.testing.assert_array_equal(found["day"][1].hits_NK, areas.hits_NK)
    assert found["dusk"][0] == []
    write_areas(tmp_path / "none.npz", {})
    assert read_areas(tmp_path / "none.npz") == {}
