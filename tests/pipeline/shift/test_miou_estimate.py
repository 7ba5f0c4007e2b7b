"""Predictions whose accuracy is known: calibrated, on other images, far away, few."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.metrics.iou import confusion_matrix, iou_per_class
from pipeline.shift.miou_estimate import chance_miou, expected_miou, ious, miou
from pipeline.shift.predictions import (
    Predictions,
    compared,
    confusions,
    disagreement,
    drawn,
    pixels_per_image,
)
from pipeline.shift.time_blocks import runs_of
from pipeline.types import IGNORE

NUM_CLASSES = 4


def predictions(num: int, hard: float, seed: int, *, labelled: bool = True) -> Predictions:
    """A calibrated model; of the pixels a share is `hard`, and it knows of each which it is."""
    rng = np.random.default_rng(seed)
    truth_NM = rng.choice(NUM_CLASSES, p=[0.5, 0.3, 0.15, 0.05], size=(num, 500)).astype(np.uint8)
    noise_NM1 = np.where(rng.random((num, 500, 1)) < hard, 1.0, 0.25)
    seen_NMK = np.eye(NUM_CLASSES)[truth_NM] + noise_NM1 * rng.normal(size=(num, 500, NUM_CLASSES))
    return Predictions(
        logits_NMK=(seen_NMK / noise_NM1**2).astype(np.float16),
        other_NM=None,
        truth_NM=truth_NM if labelled else None,
        run_N=runs_of(num, 1),
    )


def true_miou(of: Predictions) -> float:
    return miou(confusions(of).sum(axis=0))


@pytest.mark.parametrize("hard", [0.1, 0.5, 0.8])
def test_the_estimate_is_near_the_truth_and_its_interval_holds_it(hard: float) -> None:
    val, target = predictions(20, 0.5, 0), predictions(30, hard, 1)
    unlabelled = predictions(30, hard, 1, labelled=False)
    found = expected_miou(val, unlabelled, novelty=1.2)
    assert found.miou[0] == pytest.approx(true_miou(target), abs=0.04)
    assert found.miou[1] <= true_miou(target) <= found.miou[2]
    assert found.source_miou[0] == pytest.approx(true_miou(val), abs=1e-12)
    assert np.nanmean([each for each in found.iou if each is not None]) == found.by_threshold


def test_more_of_the_same_is_expected_to_be_as_good() -> None:
    val, target = predictions(20, 0.5, 0), predictions(20, 0.5, 2)
    found = expected_miou(val, target, novelty=None)
    assert found.miou[0] == pytest.approx(true_miou(val), abs=0.01)
    assert found.miou[2] - found.miou[1] < 0.04


def test_the_masks_of_the_target_are_not_looked_at() -> None:
    val, target = predictions(10, 0.5, 0), predictions(10, 0.7, 3)
    unlabelled = predictions(10, 0.7, 3, labelled=False)
    assert expected_miou(val, target, 1.0) == expected_miou(val, unlabelled, 1.0)


def test_far_away_chance_is_expected_and_what_the_model_says_is_the_upper_end() -> None:
    val, target = predictions(10, 0.5, 0), predictions(10, 0.5, 4, labelled=False)
    far, near = expected_miou(val, target, 3.0), expected_miou(val, target, 1.0)
    assert far.miou[0] == far.by_chance < near.miou[0]
    assert far.miou[2] >= near.miou[0]
    middle = expected_miou(val, target, 2.25)
    assert far.miou[0] < middle.miou[0] < near.miou[0]
    assert middle.miou[2] - middle.miou[1] > near.miou[2] - near.miou[1]


def test_counts_and_iou_are_those_of_every_other_place() -> None:
    """Row = truth, column = prediction, as in pipeline/metrics/iou.py."""
    of = predictions(3, 0.9, 4)
    assert of.truth_NM is not None
    of.truth_NM[0, :50] = IGNORE
    of.truth_NM[of.truth_NM == 3] = 0  # seen where it is not
    seen, truth = torch.from_numpy(of.class_NM), torch.from_numpy(of.truth_NM)
    whole_KK = confusion_matrix(seen, truth, NUM_CLASSES)
    assert confusions(of).sum(axis=0).tolist() == whole_KK.tolist()
    assert ious(confusions(of).sum(axis=0)) == tuple(iou_per_class(whole_KK))


def test_chance_is_what_shuffled_predictions_score() -> None:
    rng = np.random.default_rng(0)
    seen, there = (rng.choice(3, p=p, size=200_000) for p in ([0.7, 0.2, 0.1], [0.5, 0.1, 0.4]))
    counts = np.bincount(there * 3 + seen, minlength=9).reshape(3, 3).astype(float)
    expected = chance_miou(np.array([7.0, 2.0, 1.0]), np.array([0.5, 0.1, 0.4]))
    assert miou(counts) == pytest.approx(expected, abs=0.005)


def test_one_image_a_class_never_seen_and_ignored_pixels_are_no_trouble() -> None:
    val, target = predictions(1, 0.5, 0), predictions(1, 0.5, 1, labelled=False)
    val.logits_NMK[..., 3] = -9
    truth_NM = val.truth_NM
    assert truth_NM is not None
    truth_NM[:, :100] = IGNORE
    found = expected_miou(val, target, 1.0)
    assert 0 <= found.miou[1] <= found.miou[0] <= found.miou[2] <= 1


def test_what_the_model_says_is_compared() -> None:
    one, other = predictions(6, 0.3, 0), predictions(6, 0.9, 1, labelled=False)
    found = compared(one, other, ("a", "b", "c", "d"))
    assert found["entropy"]["a"] < found["entropy"]["b"] + 0.05
    assert sum(found["class_prior"]["a"].values()) == pytest.approx(1, abs=1e-5)
    assert sum(found["histograms"]["entropy"]["b"]) == pytest.approx(1, abs=1e-4)
    assert found["disagreement"] == {"a": None, "b": None}
    seen = one.class_NM.copy()
    seen[:, :250] = (seen[:, :250] + 1) % NUM_CLASSES
    twice = Predictions(logits_NMK=one.logits_NMK, other_NM=seen, truth_NM=None, run_N=one.run_N)
    assert disagreement(twice) == 0.5


def test_pixels_are_fewer_where_images_are_many() -> None:
    assert pixels_per_image(300, 11) == 2000
    assert pixels_per_image(10_000, 255) * 10_000 * 255 <= 40_000_000
    places = drawn(5000, 100)
    assert len(set(places.tolist())) == 100
    assert (np.diff(places) > 0).all()
    assert drawn(50, 100).tolist() == list(range(50))
