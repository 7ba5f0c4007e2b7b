"""Scores against sums written out, and what must not change them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.uncertainty import scores

ALL = (scores.entropy, scores.margin, scores.least_confidence)
Score = Callable[[np.ndarray], np.ndarray]


def probs_of(seed: int = 0, num_classes: int = 5, size: tuple[int, int] = (7, 9)) -> np.ndarray:
    raw = np.random.default_rng(seed).standard_normal((num_classes, *size)).astype(np.float32) * 3
    exp = np.exp(raw)
    return exp / exp.sum(axis=0)


def naive(name: str, probs: list[float]) -> float:
    first, second = sorted(probs, reverse=True)[:2]
    return {
        "entropy": -sum(p * math.log(p) for p in probs if p > 0) / math.log(len(probs)),
        "margin": 1 - (first - second),
        "least_confidence": 1 - first,
    }[name]


@pytest.mark.parametrize("score", ALL)
def test_against_sums_written_out(score: Score) -> None:
    probs_KHW = probs_of()
    found_HW = score(probs_KHW)
    assert found_HW.dtype == np.float32
    for row, column in np.ndindex(found_HW.shape):
        expected = naive(score.__name__, probs_KHW[:, row, column].tolist())
        assert found_HW[row, column] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("score", ALL)
def test_certain_and_clueless(score: Score) -> None:
    sure, even = np.array([1, 0, 0, 0], np.float32), np.full(4, 0.25, np.float32)
    highest = 0.75 if score is scores.least_confidence else 1.0
    found_HW = score(np.stack([sure, even], axis=1)[:, None])
    np.testing.assert_allclose(found_HW, [[0.0, highest]], atol=1e-6)


@pytest.mark.parametrize("score", ALL)
def test_the_order_of_classes_changes_nothing(score: Score) -> None:
    probs_KHW = probs_of()
    np.testing.assert_allclose(score(probs_KHW), score(probs_KHW[[3, 0, 4, 2, 1]]), atol=1e-6)


@pytest.mark.parametrize("score", ALL)
def test_sums_that_are_nearly_1_are_used_as_they_are(score: Score) -> None:
    probs_KHW = probs_of() * np.float32(1 - 9e-4)
    expected = naive(score.__name__, probs_KHW[:, 2, 3].tolist())
    renormalised = naive(score.__name__, (probs_KHW / probs_KHW.sum(axis=0))[:, 2, 3].tolist())
    assert score(probs_KHW)[2, 3] == pytest.approx(expected, abs=2e-6)
    assert abs(renormalised - expected) > 2e-5


@pytest.mark.parametrize("score", ALL)
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda probs: probs * 1.02, "sum up to between 1.02"),
        (lambda probs: probs * 0.98, "expected 1 within 0.01"),
        (np.log, "sum up to"),
        (lambda probs: probs * np.nan, "nan"),
        (lambda probs: probs + np.float32([0.5, -0.5, 0, 0, 0])[:, None, None], "smallest"),
    ],
)
def test_what_is_no_probability_is_refused(score: Score, spoil: Score, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        score(spoil(probs_of()))


def test_of_two_classes_all_scores_rank_alike() -> None:
    probs_KHW = probs_of(num_classes=2)
    orders = {score.__name__: score(probs_KHW).ravel().argsort().tolist() for score in ALL}
    assert orders["entropy"] == orders["margin"] == orders["least_confidence"]
