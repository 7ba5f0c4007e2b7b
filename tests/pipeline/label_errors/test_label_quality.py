"""Scores of label quality beside a second, plain writing of cleanlab's."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.label_errors.label_quality import self_confidence, softmin_score, thresholds_of
from pipeline.types import IGNORE


def plain_softmin(probs: np.ndarray, classes: np.ndarray, temperature: float = 0.1) -> float:
    """As the paper writes it: s . softmax((1 - s) / temperature), pixel by pixel."""
    given = [float(p[c]) for p, c in zip(probs, classes, strict=True) if c != IGNORE]
    weights = [np.exp((1 - s) / temperature) for s in given]
    return sum(s * w for s, w in zip(given, weights, strict=True)) / sum(weights)


def drawn(seed: int, num: int = 60, num_classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(num_classes, 0.4), num).astype(np.float32)
    classes = rng.integers(0, num_classes, num).astype(np.uint8)
    classes[rng.random(num) < 0.2] = IGNORE
    return probs, classes


@pytest.mark.parametrize("seed", range(5))
def test_the_soft_minimum_is_the_papers(seed: int) -> None:
    probs, classes = drawn(seed)
    assert softmin_score(probs, classes) == pytest.approx(plain_softmin(probs, classes), rel=1e-9)


def test_one_bad_pixel_lowers_it_more_than_the_mean() -> None:
    probs = np.tile([[0.95, 0.05]], (100, 1))
    good = softmin_score(probs, np.zeros(100, np.uint8))
    one_bad = np.zeros(100, np.uint8)
    one_bad[3] = 1
    assert good == pytest.approx(0.95)
    assert softmin_score(probs, one_bad) < 0.05 + 0.2


def test_what_nobody_painted_says_nothing() -> None:
    probs, classes = drawn(1)
    assert (self_confidence(probs, classes)[classes == IGNORE] == 1).all()
    assert softmin_score(probs, np.full(60, IGNORE, np.uint8)) == 1.0


def test_a_threshold_is_the_mean_probability_where_the_class_was_painted() -> None:
    images = [drawn(seed) for seed in (2, 3)]
    probs = np.concatenate([p for p, _ in images])
    classes = np.concatenate([c for _, c in images])
    found = thresholds_of(images, 5 - 1)
    for index in range(4):
        expected = [p[index] for p, c in zip(probs, classes, strict=True) if c == index]
        assert found[index] == pytest.approx(np.mean(expected), rel=1e-6)


def test_nothing_reaches_the_threshold_of_a_class_that_nobody_painted() -> None:
    probs, classes = drawn(4)
    classes[classes == 2] = IGNORE
    assert thresholds_of([(probs, classes)], 4)[2] == 1.0
