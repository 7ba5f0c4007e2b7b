from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from pipeline.acquisition.diversity import k_center, medoids
from pipeline.acquisition.pool import Floats


def naive_k_center(points: Floats, covered: Floats, num: int) -> list[int]:
    """The definition, point by point: the farthest from its nearest centre."""
    centres = [*covered]
    chosen: list[int] = []
    for _ in range(num):
        gaps = [
            -1.0 if row in chosen else min(math.dist(point, centre) for centre in centres)
            for row, point in enumerate(points)
        ]
        chosen.append(gaps.index(max(gaps)))
        centres.append(points[chosen[-1]])
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_k_center_is_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, covered = rng.normal(size=(60, 6)), rng.normal(size=(4, 6))
    assert [row for row, _ in k_center(points, covered, 25)] == naive_k_center(points, covered, 25)


def test_k_center_on_a_line_by_hand() -> None:
    points = np.array([[0.0], [1.0], [2.0], [6.0], [10.0]])
    # From 0: 10 is farthest (10); then 6 (4 from 10); then 2 (2 from 0); then 1 (1).
    assert k_center(points, np.array([[0.0]]), 4) == [(4, 10.0), (3, 4.0), (2, 2.0), (1, 1.0)]


def test_k_center_covers_within_twice_the_best_radius() -> None:
    points = np.random.default_rng(0).normal(size=(12, 2))
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
    best = min(gaps[:, list(rows)].min(axis=1).max() for rows in combinations(range(12), 3))
    rows = [row for row, _ in k_center(points, points[:0], 3)]
    assert gaps[:, rows].min(axis=1).max() <= 2 * best


def test_k_center_prefers_the_earlier_row_and_never_repeats() -> None:
    points = np.array([[1.0], [0.0], [1.0], [0.0]])
    assert [row for row, _ in k_center(points, np.array([[0.5]]), 4)] == [0, 1, 2, 3]


def test_k_center_refuses_more_centres_than_points() -> None:
    with pytest.raises(ValueError, match="3 centres of 2 points"):
        k_center(np.zeros((2, 1)), np.zeros((0, 1)), 3)


def test_medoids_of_few_distinct_points_are_filled_up() -> None:
    points = np.array([[1.0, 0.0]] * 3 + [[0.0, 0.0]] * 5)
    found = medoids(points, 4, np.random.default_rng(0))
    assert found[:2] == [(3, 5), (0, 3)]  # the larger cluster first
    assert len({row for row, _ in found}) == 4
    assert [size for _, size in found[2:]] == [1, 1]


def test_medoids_of_nothing() -> None:
    assert medoids(np.zeros((2, 1)), 0, np.random.default_rng(0)) == []
