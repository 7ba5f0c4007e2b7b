from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from pipeline.acquisition import diversity
from pipeline.acquisition.diversity import Reals, k_center, medoids
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


def classical(points: Reals, covered: Reals, num: int) -> list[tuple[int, float]]:
    """Algorithm 1, a pass over all points per centre; float64 by differences."""
    points, gaps = points.astype(np.float64), np.full(len(points), np.inf)
    chosen: list[tuple[int, float]] = []
    for centre in covered.astype(np.float64):
        gaps = np.minimum(gaps, np.linalg.norm(points - centre, axis=1))
    for _ in range(num):
        row = int(gaps.argmax())
        chosen.append((row, float(gaps[row])))
        gaps = np.minimum(gaps, np.linalg.norm(points - points[row], axis=1))
        gaps[[row for row, _ in chosen]] = -1
    return chosen


def gaussian(rng: np.random.Generator, num: int) -> Floats:
    return rng.normal(size=(num, 16))


def of_few(rng: np.random.Generator, num: int) -> Floats:
    """At most 10 distinct points."""
    return gaussian(rng, 10)[rng.integers(10, size=num)]


def near_duplicates_of_few(rng: np.random.Generator, num: int) -> Floats:
    """10 places, points a millionth apart."""
    return of_few(rng, num) + 1e-6 * gaussian(rng, num)


def far_from_zero(rng: np.random.Generator, num: int) -> Floats:
    """|a|^2 + |b|^2 - 2ab has no correct digit left."""
    return 1e8 + gaussian(rng, num)


def on_a_grid(rng: np.random.Generator, num: int) -> Floats:
    """Nearly every choice is a tie."""
    return rng.integers(3, size=(num, 3)).astype(np.float64)


def tiny(rng: np.random.Generator, num: int) -> Floats:
    """Squares underflow in float32."""
    return 1e-24 * gaussian(rng, num)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    "make", [gaussian, of_few, near_duplicates_of_few, far_from_zero, on_a_grid, tiny]
)
@pytest.mark.parametrize("seed", range(4))
def test_k_center_is_the_classical_to_the_last_digit(
    seed: int, make: Any, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(diversity, "BLOCK", int(rng.integers(1, 40)))
    monkeypatch.setattr(diversity, "PRODUCTS", int(rng.integers(1, 500)))
    total = int(rng.integers(2, 200))
    points = make(rng, total).astype(kind)
    for num_covered in (0, 1, 25):
        covered = points[rng.integers(total, size=num_covered)]
        num = int(rng.integers(1, total + 1))
        assert k_center(points, covered, num) == classical(points, covered, num)


def test_k_center_chooses_all_points_and_duplicates_last() -> None:
    points = np.array([[0.1, 0.2], [0.3, 0.1], [0.1, 0.2]])
    assert k_center(points, points[:0], 3) == [
        (0, math.inf),
        (1, pytest.approx(math.sqrt(0.05))),
        (2, 0.0),
    ]


def test_k_center_needs_few_passes_over_all_points(monkeypatch: pytest.MonkeyPatch) -> None:
    lowered: list[int] = []
    lower = diversity._Bounds.lower

    def counted(self: Any, centres: Reals) -> None:
        lowered.append(len(centres))
        lower(self, centres)

    monkeypatch.setattr(diversity._Bounds, "lower", counted)
    points = np.random.default_rng(0).normal(size=(20_000, 32)).astype(np.float32)
    k_center(points, points[:0], 200)
    assert len(lowered) <= 12  # the first two choices need one each


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_k_center_refuses_what_products_cannot_bound(value: float) -> None:
    points = np.ones((3, 2), dtype=np.float32)
    points[1, 0] = value
    with pytest.raises(ValueError, match="expected finite values"):
        k_center(points, points[:0], 1)
    with pytest.raises(ValueError, match="expected finite values"):
        k_center(points[:1], points, 1)


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
