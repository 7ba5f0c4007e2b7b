"""Cells that a correction is spread to."""

from __future__ import annotations

import numpy as np

from pipeline.campaign.corrections import Correction
from pipeline.probe.spreading import alike

SHOWN = np.array([[0, 0, 0, 0], [0, 0, 1, 0], [1, 1, 1, 0]], dtype=np.uint8)
CLICK = Correction(2, np.array([0]), np.array([0]))


def features(alike_HW: np.ndarray) -> np.ndarray:
    """One axis for what is like the clicked cell, another for the rest; lengths differ."""
    axes = np.where(alike_HW.reshape(-1, 1), [[1.0, 0.1]], [[0.1, 1.0]])
    return (axes * np.arange(1, 13)[:, None]).astype(np.float16)


def test_it_reaches_what_is_connected_shown_alike_and_of_like_features() -> None:
    like = np.array([[1, 1, 0, 1], [1, 0, 1, 1], [1, 0, 0, 1]], dtype=bool)
    found = alike(features(like), SHOWN, CLICK, 0.9)
    # (0, 3) is like it but not connected, (2, 0) connected but shown as another class.
    assert found.tolist() == [0, 1, 4]


def test_below_every_similarity_it_is_the_area_as_shown() -> None:
    found = alike(features(np.zeros((3, 4), dtype=bool)), SHOWN, CLICK, -1.0)
    assert found.tolist() == np.flatnonzero(SHOWN == 0).tolist()


def test_a_stroke_goes_by_the_mean_of_its_cells() -> None:
    like = np.ones((3, 4), dtype=bool)
    stroke = Correction(2, np.array([2, 2]), np.array([0, 1]))
    assert alike(features(like), SHOWN, stroke, 0.99).tolist() == [6, 8, 9, 10]
