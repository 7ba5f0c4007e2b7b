"""Shapes against a flood fill, people's pace against times that were made up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.campaign import annotation_time
from pipeline.campaign.annotation_time import (
    MIN_ANSWERS,
    PRIOR,
    QUICKEST,
    SMALLEST_AREA,
    Pace,
    Shape,
    Timed,
    expected_minutes,
    fit,
    per_minute,
    shape_of,
    timed,
)
from pipeline.errors import DataError
from pipeline.records.answers import Answer

TRUE = Pace(base=12.0, per_boundary=0.4, per_region=0.02, pre_annotated=-10.0)


def some_shapes(num: int, seed: int = 0) -> list[Shape | None]:
    rng = np.random.default_rng(seed)
    shapes: list[Shape | None] = [
        Shape(float(boundary), int(regions))
        for boundary, regions in zip(
            rng.uniform(5, 40, num), rng.integers(5, 120, num), strict=True
        )
    ]
    return [None if n % 5 == 0 else shape for n, shape in enumerate(shapes)]


def at_pace(pace: Pace, shapes: Sequence[Shape | None], noise: float = 0.0) -> list[Timed]:
    rng = np.random.default_rng(1)
    minutes_N = expected_minutes(pace, shapes) * np.exp(rng.normal(0, noise, len(shapes)))
    return [Timed(float(m), shape) for m, shape in zip(minutes_N, shapes, strict=True)]


def flood_fill(classes_HW: np.ndarray) -> list[int]:
    """Sizes of connected areas, pixel by pixel."""
    left = {(int(y), int(x)) for y, x in np.ndindex(*classes_HW.shape)}
    sizes = []
    while left:
        edge = [left.pop()]
        size = 0
        while edge:
            y, x = edge.pop()
            size += 1
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in left and classes_HW[near] == classes_HW[y, x]:
                    left.remove(near)
                    edge.append(near)
        sizes.append(size)
    return sizes


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
@pytest.mark.parametrize("seed", range(3))
def test_a_shape_is_what_a_flood_fill_finds(
    seed: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotation_time, "PIXELS_AT_ONCE", rows * 14 * (1 + seed % 2))
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, (9, 14), dtype=np.uint8)
    classes_HW = coarse.repeat(1 + seed % 3, axis=0).repeat(1 + seed % 2, axis=1)
    sizes = flood_fill(classes_HW)
    found = shape_of(classes_HW)
    assert found.regions == sum(size >= SMALLEST_AREA * classes_HW.size for size in sizes)
    borders = sum(
        classes_HW[y, x] != classes_HW[y + dy, x + dx]
        for y, x in np.ndindex(*classes_HW.shape)
        for dy, dx in ((0, 1), (1, 0))
        if y + dy < classes_HW.shape[0] and x + dx < classes_HW.shape[1]
    )
    assert found.boundary == pytest.approx(borders / np.sqrt(classes_HW.size))


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_a_winding_area_is_one_region(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotation_time, "PIXELS_AT_ONCE", rows * 9)
    spiral = np.zeros((9, 9), np.uint8)
    spiral[1, 1:8] = spiral[1:8, 7] = spiral[7, 1:8] = spiral[3:8, 1] = spiral[3, 1:6] = 1
    spiral[3:6, 5] = spiral[5, 3:6] = 1
    assert shape_of(spiral).regions == len(flood_fill(spiral)) == 2
    assert shape_of(np.zeros((5, 7), np.uint8)) == (0.0, 1)


def test_size_class_names_and_speckles_change_nothing() -> None:
    rng = np.random.default_rng(2)
    classes_HW = rng.integers(0, 4, (12, 16), dtype=np.uint8)
    expected = shape_of(classes_HW)
    assert shape_of(classes_HW.repeat(5, axis=0).repeat(5, axis=1)) == pytest.approx(expected)
    assert shape_of(3 - classes_HW) == expected
    assert shape_of(np.ascontiguousarray(classes_HW.T)) == pytest.approx(expected)
    large = np.zeros((100, 100), np.uint8)
    large[::7, ::9] = 1
    assert shape_of(large).regions == 1


def test_a_mask_that_is_none_is_refused() -> None:
    for bad in (np.zeros((0, 4), np.uint8), np.zeros((2, 3, 4), np.uint8)):
        with pytest.raises(DataError, match="expected"):
            shape_of(bad)


def test_below_eight_answers_it_is_the_prior() -> None:
    assert fit([]) == PRIOR
    assert fit(at_pace(TRUE, some_shapes(MIN_ANSWERS - 1))) == PRIOR
    assert fit(at_pace(TRUE, some_shapes(MIN_ANSWERS))) != PRIOR


def test_people_s_pace_is_found_again() -> None:
    shapes = some_shapes(400)
    rng = np.random.default_rng(3)
    minutes_N = expected_minutes(TRUE, shapes) + rng.normal(0, 0.3, 400)
    found = fit([Timed(max(0, float(m)), s) for m, s in zip(minutes_N, shapes, strict=True)])
    new = some_shapes(50, seed=9)
    np.testing.assert_allclose(
        expected_minutes(found, new), expected_minutes(TRUE, new), rtol=0.1, atol=0.3
    )
    assert found.pre_annotated < 0 < found.per_boundary


def test_the_fit_is_the_least_of_its_sum() -> None:
    """Against a walk over random terms: none is better."""
    answers = at_pace(TRUE, some_shapes(30), noise=0.6)
    minutes_N = np.array([row.minutes for row in answers])
    minutes_N = np.clip(minutes_N, *np.percentile(minutes_N, (5, 95)))
    terms_NF = np.array([(1, 0, 0, 0) if r.shape is None else (1, *r.shape, 1) for r in answers])
    prior_F = np.array(PRIOR)
    prior_F *= minutes_N.mean() / np.maximum(terms_NF @ prior_F, QUICKEST).mean()

    def error(pace: np.ndarray) -> float:
        off = ((pace - prior_F) ** 2 * (terms_NF**2).mean(axis=0)).sum()
        return float(((terms_NF @ pace - minutes_N) ** 2).sum() + 2 * off)

    found = np.array(fit(answers))
    rng = np.random.default_rng(4)
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(300):
            near = found + rng.normal(0, scale, 4) * np.abs(prior_F)
            near[:3] = np.maximum(near[:3], 0)
            assert error(near) >= error(found) - 1e-9


def test_terms_that_would_be_negative_are_held_at_zero() -> None:
    shapes = some_shapes(60)
    falling = [
        Timed(30 - (0.5 * s.boundary if s else 0), s) for s in shapes
    ]  # the longer the border, the quicker
    found = fit(falling)
    assert found.per_boundary == 0
    assert min(found[:3]) >= 0


def test_one_open_browser_tab_does_not_change_the_pace() -> None:
    answers = at_pace(TRUE, some_shapes(40), noise=0.2)
    lazy = [*answers[:-1], answers[-1]._replace(minutes=100_000.0)]
    new = some_shapes(20, seed=5)
    before, after = (expected_minutes(fit(rows), new) for rows in (answers, lazy))
    np.testing.assert_allclose(after, before, rtol=0.35)


def test_order_changes_nothing_and_twice_the_time_is_twice_the_minutes() -> None:
    answers = at_pace(TRUE, some_shapes(40), noise=0.3)
    new = some_shapes(20, seed=5)
    expected = expected_minutes(fit(answers), new)
    np.testing.assert_allclose(expected_minutes(fit(answers[::-1]), new), expected)
    slower = [row._replace(minutes=2 * row.minutes) for row in answers]
    np.testing.assert_allclose(expected_minutes(fit(slower), new), 2 * expected, rtol=1e-6)


def test_answers_of_one_kind_are_enough() -> None:
    same = [Timed(3.0, Shape(10.0, 20))] * 20
    assert expected_minutes(fit(same), [Shape(10.0, 20)])[0] == pytest.approx(3.0, rel=0.05)
    instant = [Timed(0.0, None)] * 20
    assert expected_minutes(fit(instant), [None, Shape(9.0, 9)]).tolist() == [QUICKEST] * 2


@pytest.mark.parametrize("minutes", [-1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(minutes: float) -> None:
    with pytest.raises(DataError, match="expected numbers of at least 0"):
        fit([Timed(minutes, None)])


def test_only_answers_with_a_time_count() -> None:
    row = Answer(item_id="day/a/r0", source="audit", chance=None, mask_sha256="m", counts=())
    known = Answer(
        item_id="day/b/r0",
        source="strategy",
        chance=None,
        mask_sha256="m",
        counts=(),
        lead_s=90.0,
        boundary=3.5,
        regions=4,
    )
    assert timed([row, known]) == [Timed(1.5, Shape(3.5, 4))]


def test_scores_for_a_minute() -> None:
    scores_N, minutes_N = np.array([0.9, 0.6, 0.3]), np.array([6.0, 2.0, 4.0])
    found = per_minute(scores_N, minutes_N)
    assert found.tolist() == pytest.approx([0.3, 0.6, 0.15])
    assert per_minute(scores_N, np.full(3, 5.0)).tolist() == scores_N.tolist()
    np.testing.assert_allclose(per_minute(scores_N, 3 * minutes_N), found)
    assert per_minute(np.zeros(0), np.zeros(0)).shape == (0,)
    for bad in (np.array([1.0, 2.0]), np.array([1.0, 0.0, 2.0])):
        with pytest.raises(DataError, match="expected one above 0 each"):
            per_minute(scores_N, bad)
