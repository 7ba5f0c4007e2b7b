"""Calibration against sums written out, and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import softmax

from pipeline import row_bands
from pipeline.types import IGNORE
from pipeline.uncertainty import calibration
from pipeline.uncertainty.calibration import (
    PixelSample,
    best_temperature,
    calibration_error,
    class_calibration_errors,
    error_detection,
    reliability,
    sparsification,
)


def honest(num: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and classes drawn with exactly the probabilities that they say."""
    rng = np.random.default_rng(seed)
    logits_MK = (rng.standard_normal((num, 4)) * 2).astype(np.float32)
    edges = softmax(logits_MK, axis=1).cumsum(axis=1)
    truth_M = (rng.random((num, 1)) > edges[:, :-1]).sum(axis=1)
    return logits_MK, truth_M.astype(np.uint8)


def told(logits_MK: np.ndarray, truth_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probs_MK = softmax(logits_MK, axis=1)
    return probs_MK.max(axis=1), probs_MK.argmax(axis=1) == truth_M


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_what_was_done(factor: float) -> None:
    logits_MK, truth_M = honest()
    scaled_MK = logits_MK * np.float32(factor)
    found = best_temperature(scaled_MK, truth_M)
    assert found == pytest.approx(factor, rel=0.05)
    before = calibration_error(reliability(*told(scaled_MK, truth_M)))
    after = calibration_error(reliability(*told(scaled_MK / np.float32(found), truth_M)))
    assert after < 0.015
    if factor != 1:
        assert before > 5 * after


def test_the_temperature_has_the_least_negative_log_likelihood() -> None:
    logits_MK, truth_M = honest(2000)
    grid = np.geomspace(0.5, 2, 2001)
    wide = logits_MK.astype(np.float64)
    true = wide[np.arange(2000), truth_M]
    losses = [np.log(np.exp(wide / t).sum(axis=1)).mean() - true.mean() / t for t in grid]
    least = float(grid[np.argmin(losses)])
    assert best_temperature(logits_MK, truth_M) == pytest.approx(least, rel=1e-3)
    assert best_temperature(logits_MK[:, ::-1], 3 - truth_M) == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_at_the_temperature_the_slope_of_the_likelihood_is_0(factor: float) -> None:
    """Expected and true logit are equal there: a root is found more exactly than a minimum."""
    logits_MK, truth_M = honest(3000)
    wide_MK = factor * logits_MK.astype(np.float64)
    true = wide_MK[np.arange(3000), truth_M].mean()
    root = brentq(
        lambda t: (softmax(wide_MK / t, axis=1) * wide_MK).sum(axis=1).mean() - true, 0.1, 9
    )
    found = best_temperature(wide_MK.astype(np.float32), truth_M)
    assert found == pytest.approx(root, abs=1e-5)


def test_a_model_without_an_error_ends_at_the_bound() -> None:
    logits_MK, _ = honest(100)
    found = best_temperature(logits_MK, logits_MK.argmax(axis=1).astype(np.uint8))
    assert found == pytest.approx(0.05, rel=1e-3)


def test_calibration_error_by_hand() -> None:
    confidence_M = np.repeat(np.float32([0.6, 0.9]), [300, 700])
    right_M = np.arange(1000) % 2 == 0
    bins = reliability(confidence_M, right_M)
    assert [(round(b.confidence, 6), b.accuracy, b.share) for b in bins] == [
        (0.6, 0.5, 0.3),
        (0.9, 0.5, 0.7),
    ]
    assert calibration_error(bins) == pytest.approx(0.3 * 0.1 + 0.7 * 0.4)


def test_bins_against_a_sort() -> None:
    logits_MK, truth_M = honest(15 * 40)
    confidence_M, right_M = told(logits_MK, truth_M)
    order = confidence_M.argsort()
    groups = order.reshape(15, 40)
    naive = np.mean([abs(confidence_M[g].mean() - right_M[g].mean()) for g in groups])
    assert calibration_error(reliability(confidence_M, right_M)) == pytest.approx(naive, abs=5e-3)


def test_the_order_of_pixels_changes_nothing() -> None:
    logits_MK, truth_M = honest(999)
    confidence_M, right_M = told(logits_MK.round(), truth_M)  # many ties
    order = np.random.default_rng(1).permutation(999)
    assert calibration_error(reliability(confidence_M, right_M)) == pytest.approx(
        calibration_error(reliability(confidence_M[order], right_M[order]))
    )
    assert error_detection(1 - confidence_M, ~right_M).ause == pytest.approx(  # type: ignore[union-attr]
        error_detection(1 - confidence_M[order], ~right_M[order]).ause  # type: ignore[union-attr]
    )


def test_calibration_of_each_class() -> None:
    logits_MK, truth_M = honest()
    honest_K = class_calibration_errors(softmax(logits_MK, axis=1), truth_M)
    assert len(honest_K) == 4
    assert max(honest_K) < 0.015
    bold_K = class_calibration_errors(softmax(logits_MK / 0.3, axis=1), truth_M)
    assert min(bold_K) > 3 * max(honest_K)
    moved = [2, 0, 3, 1]
    moved_K = class_calibration_errors(
        softmax(logits_MK, axis=1)[:, moved], np.argsort(moved)[truth_M].astype(np.uint8)
    )
    assert moved_K == pytest.approx([honest_K[index] for index in moved])


def test_finding_errors_against_pairs() -> None:
    rng = np.random.default_rng(2)
    wrong_M = rng.random(60) < 0.3
    uncertainty_M = (rng.random(60) + 0.4 * wrong_M).round(1).astype(np.float32)  # with ties
    pairs = uncertainty_M[wrong_M][:, None] - uncertainty_M[~wrong_M][None]
    found = error_detection(uncertainty_M, wrong_M)
    assert found is not None
    assert found.auroc == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    precision, reached = 0.0, 0
    for level in np.unique(uncertainty_M)[::-1]:
        chosen = uncertainty_M >= level
        hits = int((chosen & wrong_M).sum())
        precision += (hits - reached) / wrong_M.sum() * hits / chosen.sum()
        reached = hits
    assert found.aupr == pytest.approx(precision)


def test_sparsification_by_hand() -> None:
    wrong_M = np.array([True, False, True, False])
    uncertainty_M = np.float32([0.9, 0.8, 0.2, 0.1])
    assert sparsification(uncertainty_M, wrong_M) == pytest.approx([2 / 4, 1 / 3, 1 / 2, 0 / 1])
    assert sparsification(wrong_M, wrong_M) == pytest.approx([2 / 4, 1 / 3, 0, 0])
    found = error_detection(uncertainty_M, wrong_M)
    assert found is not None
    assert found.ause == pytest.approx((1 / 2) / 4)
    clueless = np.zeros(4, np.float32)
    assert sparsification(clueless, wrong_M) == pytest.approx([0.5] * 4)


def test_knowing_the_errors_is_perfect_and_any_rising_function_the_same() -> None:
    wrong_M = np.random.default_rng(3).random(200) < 0.2
    perfect = error_detection(wrong_M.astype(np.float32), wrong_M)
    assert perfect is not None
    assert (perfect.auroc, perfect.aupr, perfect.ause) == (1.0, 1.0, 0.0)
    uncertainty_M = np.random.default_rng(4).random(200).astype(np.float32)
    assert error_detection(uncertainty_M, wrong_M) == error_detection(uncertainty_M**3, wrong_M)


def test_without_an_error_there_is_nothing_to_find() -> None:
    assert error_detection(np.ones(3, np.float32), np.zeros(3, bool)) is None
    assert error_detection(np.ones(3, np.float32), np.ones(3, bool)) is None


@pytest.mark.parametrize("quota", [1, 7, 60, 400])
def test_the_draw_is_one_from_the_list_of_all_labelled_pixels(
    quota: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "MAX_PIXELS", quota)
    monkeypatch.setattr(row_bands, "PIXELS_AT_ONCE", 40)  # two rows at once
    mask_HW = np.random.default_rng(1).choice(np.uint8([0, 1, IGNORE]), (13, 20))
    labelled = np.flatnonzero(mask_HW != IGNORE)
    expected = labelled
    if len(labelled) > quota:
        expected = np.random.default_rng(3).choice(labelled, quota, replace=False)
    np.testing.assert_array_equal(PixelSample(1, seed=3).draw(mask_HW), expected)
    np.testing.assert_array_equal(PixelSample(1).draw(np.full_like(mask_HW, IGNORE)), [])


def test_pixels_are_drawn_alike_bounded_and_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MAX_PIXELS", 100)
    rng = np.random.default_rng(5)

    def drawn(seed: int) -> PixelSample:
        sample = PixelSample(4, seed)
        for _ in range(4):
            mask_HW = np.tile(np.arange(20, dtype=np.uint8) % 3, (10, 1))
            mask_HW[:5] = IGNORE
            logits_KHW = np.stack([mask_HW, rng.random((10, 20)), mask_HW * 0]).astype(np.float32)
            place_M = sample.draw(mask_HW)
            sample.add(logits_KHW.reshape(3, -1)[:, place_M].T, mask_HW.reshape(-1)[place_M])
        return sample

    one, again, other = drawn(0), drawn(0), drawn(1)
    assert one.logits_MK.shape == (100, 3)
    assert len(one) == 100
    assert IGNORE not in one.truth_M
    np.testing.assert_array_equal(one.logits_MK[:, 0], one.truth_M)  # pixel and truth go together
    np.testing.assert_array_equal(one.truth_M, again.truth_M)
    assert one.truth_M.tolist() != other.truth_M.tolist()
    with pytest.raises(ValueError, match="0 images: expected at least 1"):
        PixelSample(0)
