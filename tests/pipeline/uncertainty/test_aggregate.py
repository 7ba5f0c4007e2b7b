"""One number per image: by hand, and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import row_bands
from pipeline.uncertainty import aggregate, pixel_values
from pipeline.uncertainty.aggregate import (
    AGGREGATES,
    Scope,
    class_balanced,
    mean,
    near_boundaries,
    scope_of,
    top_mean,
    window_max,
)
from pipeline.uncertainty.pixel_values import PixelValues

of = PixelValues.of


def whole(classes_HW: np.ndarray, top_share: float = 0.1, *, inside: bool = False) -> Scope:
    return scope_of(classes_HW.astype(np.uint8), top_share=top_share, exclude_boundaries=inside)


def image(seed: int = 0, size: tuple[int, int] = (32, 40)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    classes_HW = np.kron(rng.integers(0, 3, (size[0] // 8, size[1] // 8)), np.ones((8, 8), int))
    return rng.random(size, dtype=np.float32), classes_HW


def test_the_top_share_is_what_it_says() -> None:
    values_HW = np.arange(20, dtype=np.float32).reshape(4, 5)
    for share, expected in ((0.1, 18.5), (1.0, 9.5), (0.001, 19.0)):
        assert top_mean(of(values_HW), whole(np.zeros((4, 5)), share)) == expected


@pytest.mark.parametrize("at_once", [0, 1 << 18])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("levels", [1, 3, 10**6])
def test_the_top_share_against_a_sorted_list(
    share: float, levels: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregate, "AT_ONCE", at_once)
    values_HW = np.random.default_rng(0).integers(0, levels, (32, 40)) / np.float32(levels)
    values_HW = values_HW.astype(np.float32) * np.float32(-1 if levels == 1 else 1)  # -0.0 too
    scope = whole(image()[1], share, inside=True)
    counted = sorted(values_HW[scope.counts_HW].tolist(), reverse=True)
    count = max(1, round(share * len(counted)))
    assert top_mean(of(values_HW), scope) == pytest.approx(sum(counted[:count]) / count, rel=1e-12)


@pytest.mark.parametrize("name", AGGREGATES)
def test_strips_and_a_file_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values_HW, classes_HW = image(2, (160, 240))
    scope = whole(classes_HW, inside=True)
    expected = AGGREGATES[name](of(values_HW), scope)
    monkeypatch.setattr(aggregate, "AT_ONCE", 0)
    monkeypatch.setattr(row_bands, "PIXELS_AT_ONCE", 240 * 7)
    monkeypatch.setattr(pixel_values, "IN_MEMORY", 1)
    in_strips = whole(classes_HW, inside=True)
    np.testing.assert_array_equal(in_strips.counts_HW, scope.counts_HW)
    assert AGGREGATES[name](of(values_HW), in_strips) == pytest.approx(expected, rel=1e-12)


def test_windows_by_hand() -> None:
    values_HW, classes_HW = image(4)
    naive = max(
        values_HW[top : top + 4, left : left + 5].mean(dtype=float)
        for top in range(29)
        for left in range(36)
    )
    assert window_max(of(values_HW), whole(classes_HW)) == pytest.approx(naive, rel=1e-6)


def test_classes_weigh_alike() -> None:
    values_HW = np.float32([[0.2, 0.4, 0.3, 1.0]])
    assert class_balanced(of(values_HW), whole(np.array([[0, 0, 0, 7]]))) == pytest.approx(0.65)
    assert mean(of(values_HW), whole(np.array([[0, 0, 0, 7]]))) == pytest.approx(0.475)


def test_the_window_finds_the_one_unsure_place() -> None:
    values_HW = np.full((32, 40), 0.1, np.float32)
    values_HW[10:14, 20:25] = 0.9  # one window of 4 x 5
    assert window_max(of(values_HW), whole(np.zeros((32, 40)))) == pytest.approx(0.9)
    naive = max(
        values_HW[top : top + 4, left : left + 5].mean() for top in range(29) for left in range(36)
    )
    values_HW[12, 22] = 0.5
    assert window_max(of(values_HW), whole(np.zeros((32, 40)))) < naive


def test_without_a_window_that_counts_it_is_the_mean() -> None:
    values_HW, classes_HW = image()
    counts_HW = np.zeros((32, 40), bool)
    counts_HW[::8, ::8] = True
    scope = Scope(classes_HW=classes_HW.astype(np.uint8), counts_HW=counts_HW, top_share=0.1)
    assert window_max(of(values_HW), scope) == mean(of(values_HW), scope)


def test_a_window_is_judged_by_what_counts_in_it() -> None:
    counts_HW = np.zeros((32, 40), bool)
    counts_HW[::2] = True
    classes_HW = np.zeros((32, 40), np.uint8)
    scope = Scope(classes_HW=classes_HW, counts_HW=counts_HW, top_share=0.1)
    values_HW = np.where(counts_HW, 0.6, 1.0).astype(np.float32)
    assert window_max(of(values_HW), scope) == pytest.approx(0.6)


def test_boundaries_against_distances() -> None:
    _, classes_HW = image(3, (240, 320))  # a diagonal of 400: 3 pixels
    near_HW = near_boundaries(classes_HW.astype(np.uint8))
    padded = np.pad(classes_HW, 1, mode="edge")
    inner = padded[1:-1, 1:-1]
    edge_HW = np.zeros_like(near_HW)
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        edge_HW |= padded[down : down + 240, right : right + 320] != inner
    rows, columns = np.nonzero(edge_HW)
    for row, column in ((0, 0), (5, 4), (4, 4), (100, 107), (121, 203), (239, 319)):
        distance = np.maximum(abs(rows - row), abs(columns - column)).min()
        assert near_HW[row, column] == (distance <= 3)


def test_boundaries_can_be_left_out() -> None:
    classes_HW = np.zeros((240, 320), int)
    classes_HW[:, 160:] = 1
    values_HW = np.full((240, 320), 0.2, np.float32)
    values_HW[:, 157:163] = 1.0
    for number in AGGREGATES.values():
        assert number(of(values_HW), whole(classes_HW, inside=True)) == pytest.approx(0.2)
        assert number(of(values_HW), whole(classes_HW)) > 0.2


def test_an_image_of_nothing_but_boundaries_counts_whole() -> None:
    values_HW, _ = image()
    chess_HW = np.indices((32, 40)).sum(axis=0) % 2
    for number in AGGREGATES.values():
        assert number(of(values_HW), whole(chess_HW, inside=True)) == (
            number(of(values_HW), whole(chess_HW))
        )


@pytest.mark.parametrize("name", AGGREGATES)
def test_the_size_of_the_image_changes_nothing(name: str) -> None:
    values_HW, classes_HW = image(1, (160, 240))
    large = [np.kron(each, np.ones((2, 2), each.dtype)) for each in (values_HW, classes_HW)]
    small = AGGREGATES[name](of(values_HW), whole(classes_HW))
    assert AGGREGATES[name](of(large[0]), whole(large[1])) == pytest.approx(small, abs=2e-3)


@pytest.mark.parametrize("name", AGGREGATES)
def test_images_are_not_stretched_to_their_own_range(name: str) -> None:
    values_HW, classes_HW = image()
    calm = AGGREGATES[name](of(values_HW * np.float32(0.1)), whole(classes_HW))
    assert calm == pytest.approx(0.1 * AGGREGATES[name](of(values_HW), whole(classes_HW)), rel=1e-5)


@pytest.mark.parametrize("name", AGGREGATES)
def test_the_numbers_of_the_classes_change_nothing(name: str) -> None:
    values_HW, classes_HW = image()
    renamed_HW = np.array([2, 0, 1])[classes_HW]
    assert AGGREGATES[name](of(values_HW), whole(renamed_HW)) == pytest.approx(
        AGGREGATES[name](of(values_HW), whole(classes_HW))
    )
