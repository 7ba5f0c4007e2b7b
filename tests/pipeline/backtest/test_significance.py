"""Areas, intervals and sentences, against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.backtest import significance


def test_the_area_is_the_mean_over_the_labels() -> None:
    curves = np.array([[0.2, 0.4, 0.4], [0.3, 0.3, 0.3]])
    # (0.3 * 10 + 0.4 * 30) / 40
    assert significance.aulc(curves, [10, 20, 50]) == pytest.approx([0.375, 0.3])
    assert significance.aulc(curves[:, :1], [10]) == pytest.approx([0.2, 0.3])


def test_labels_between_two_points_are_found_on_the_line() -> None:
    curve = np.array([0.2, 0.4, 0.39, 0.6])
    assert significance.labels_needed(curve, [10, 20, 30, 40], 0.1) == 10
    assert significance.labels_needed(curve, [10, 20, 30, 40], 0.3) == 15
    assert significance.labels_needed(curve, [10, 20, 30, 40], 0.55) == 38  # 37.6, rounded up
    assert significance.labels_needed(curve, [10, 20, 30, 40], 0.7) is None


def test_the_interval_holds_the_mean_and_narrows_with_agreement() -> None:
    mean, low, high = significance.interval(np.array([0.01, 0.02, 0.03]))
    assert low is not None
    assert high is not None
    assert mean == pytest.approx(0.02)
    assert 0.01 <= low < 0.02 < high <= 0.03
    assert significance.interval(np.array([0.02, 0.02])) == [0.02, 0.02, 0.02]
    assert significance.interval(np.array([0.02])) == [0.02, None, None]


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ([0.012, 0.004, 0.02], "new is better than random: +1.2 points"),
        ([-0.012, -0.02, -0.004], "new is worse than random: -1.2 points"),
        ([0.012, -0.004, 0.02], "new is as good as random, as far as 5 seeds tell: +1.2 points"),
        ([0.0, 0.0, 0.0], "new is as good as random"),
    ],
)
def test_only_an_interval_clear_of_zero_is_better_or_worse(gain: list[float], said: str) -> None:
    assert significance.compare("new", gain, 5).startswith(said)


def test_few_seeds_seem_and_one_says_nothing() -> None:
    assert significance.compare("new", [0.01, 0.01, 0.01], 3).startswith(
        "new seems better than random"
    )
    assert "nothing to go by" in significance.compare("new", [0.01, None, None], 1)


def test_pairs_are_compared_seed_by_seed() -> None:
    # Seeds differ by far more than strategies: only pairs show that `new` is better.
    random = [[0.1, 0.2], [0.5, 0.6], [0.3, 0.3]]
    new = [[0.1, 0.24], [0.5, 0.64], [0.3, 0.34]]
    found = significance.summary({"random": random, "new": new}, [4, 8], full=0.6)
    assert found["new"]["aulc_minus_random"] == pytest.approx([0.02, 0.02, 0.02])
    assert found["random"]["aulc_minus_random"] == [0, 0, 0]
    assert found["new"]["labels"] == [4, 8]
    assert found["new"]["miou"] == new
    assert significance.verdict(found).startswith("new seems better than random: +2.0 points")


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((0.02, 0.01, 0.03, 0.02, 0.02), "new is better than random: +2.0 points"),
        ((0.02, -0.03, 0.01, -0.01, 0.01), "new is as good as random, as far as 5 seeds tell"),
        ((-0.02, -0.01, -0.03, -0.02, -0.02), "new is worse than random: -2.0 points"),
    ],
)
def test_curves_become_the_sentence_that_fits_them(gains: tuple[float, ...], said: str) -> None:
    random = [[0.1 * seed, 0.1 * seed + 0.2] for seed in range(5)]
    new = [[value + gain for value in curve] for curve, gain in zip(random, gains, strict=True)]
    stratified = [[value - 0.1 for value in curve] for curve in random]
    curves = {"random": random, "stratified_random": stratified, "new": new}
    found = significance.summary(curves, [4, 8], full=0.6)
    first, second = significance.sentences(found)
    assert first.startswith("stratified_random is worse than random: -10.0 points")
    assert second.startswith(said)
    assert significance.verdict(found) == f"{first} {second}"
    against = significance.sentences(found, "stratified_random")
    assert against[1].startswith("new is better than stratified_random: +")
    mean = found["new"]["aulc_minus_stratified_random"][0]
    assert mean == pytest.approx(0.1 + sum(gains) / 5)


def test_without_random_nothing_is_claimed() -> None:
    found = significance.summary({"new": [[0.1, 0.2]]}, [4, 8], full=0.6)
    assert "random" in significance.verdict(found)
    assert "aulc_minus_random" not in found["new"]
