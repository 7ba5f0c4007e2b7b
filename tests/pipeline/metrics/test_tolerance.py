"""Recall and precision within a distance, against loops over pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.metrics.tolerance import Near


def share_near(of_HW: np.ndarray, to_HW: np.ndarray, within_px: float) -> float:
    """Share of the pixels of the first that have one of the second near, pair by pair."""
    pixels, others = np.argwhere(of_HW), np.argwhere(to_HW)
    near = [any(math.dist(pixel, other) <= within_px for other in others) for pixel in pixels]
    return sum(near) / len(near)


@pytest.mark.parametrize("within_px", [0, 1, 2.5, 3])
def test_it_is_what_pairs_of_pixels_say(within_px: float) -> None:
    rng = np.random.default_rng(0)
    predicted_HW, truth_HW = rng.random((2, 17, 23)) < 0.03
    found = Near.counted(predicted_HW, truth_HW, within_px)
    assert found.recall == share_near(truth_HW, predicted_HW, within_px)
    assert found.precision == share_near(predicted_HW, truth_HW, within_px)


def test_a_line_beside_the_true_one_is_found_and_another_is_not() -> None:
    truth_HW = np.zeros((20, 20), dtype=bool)
    truth_HW[5] = True
    predicted_HW = np.zeros_like(truth_HW)
    predicted_HW[[8, 15]] = True
    assert Near.counted(predicted_HW, truth_HW, 3) == Near(20, 20, 20, 40)


def test_what_is_not_there_has_no_share() -> None:
    nothing_HW = np.zeros((4, 4), dtype=bool)
    something_HW = ~nothing_HW
    missed = Near.counted(nothing_HW, something_HW, 3)
    assert (missed.recall, missed.precision) == (0.0, None)
    invented = Near.counted(something_HW, nothing_HW, 3)
    assert (invented.recall, invented.precision) == (None, 0.0)
    assert missed.plus(invented) == Near(0, 16, 0, 16)
