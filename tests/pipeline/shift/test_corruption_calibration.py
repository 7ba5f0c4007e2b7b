"""Rehearsed falls: a model whose confidence tells too little of its fall, and what corrects it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.data.corruptions import ALTERATIONS
from pipeline.shift.corruption_calibration import Rehearsal, directions, parted, rehearse, trust
from pipeline.shift.miou_estimate import Trust, expected_miou, measured_miou, threshold_miou
from pipeline.shift.predictions import Predictions
from pipeline.shift.time_blocks import runs_of

NUM_CLASSES = 4


def bold(num: int, lost: float, seed: int) -> Predictions:
    """A model that guesses where it is `lost`, and is as unsure elsewhere, twice as often."""
    rng = np.random.default_rng(seed)
    truth_NM = rng.choice(NUM_CLASSES, p=[0.4, 0.3, 0.2, 0.1], size=(num, 600)).astype(np.uint8)
    guessed_NM = rng.random((num, 600)) < lost
    seen_NM = np.where(guessed_NM, rng.integers(NUM_CLASSES, size=(num, 600)), truth_NM)
    unsure_NM = guessed_NM | (rng.random((num, 600)) < 2 * lost)
    sure_NM = np.where(unsure_NM, 0.6, 4.0) + 0.2 * rng.random((num, 600))
    return Predictions(
        logits_NMK=(np.eye(NUM_CLASSES)[seen_NM] * sure_NM[..., None]).astype(np.float16),
        other_NM=None,
        truth_NM=truth_NM,
        run_N=runs_of(num, 1),
    )


VAL = bold(12, 0.05, 0)
ALTERED = {name: bold(12, lost, 1) for name, lost in (("fog", 0.1), ("noise", 0.3), ("dark", 0.5))}


def test_a_rehearsal_sets_what_thresholds_say_beside_the_masks() -> None:
    found = rehearse(VAL, ALTERED, {"dark": 0.7})
    assert [each.direction for each in found] == [0, 0, 0.7]
    assert [each.name for each in found] == list(ALTERED)
    for each in found:
        source, there = measured_miou(VAL), ALTERED[each.name]
        assert each.true_fall == pytest.approx(source - measured_miou(there))
        assert each.expected_fall == pytest.approx(source - threshold_miou(VAL, there))
    assert found[-1].true_fall > 1.3 * found[-1].expected_fall > 0


def test_a_bold_model_is_expected_to_fall_further_once_it_was_rehearsed() -> None:
    target = bold(20, 0.4, 2)
    truth = measured_miou(target)
    plain = expected_miou(VAL, target, 1.0)
    believed = trust(rehearse(VAL, ALTERED))
    found = expected_miou(VAL, target, 1.0, believed)
    assert plain.miou[0] > truth + 0.05
    assert found.miou[0] == pytest.approx(truth, abs=0.03)
    assert found.miou[1] <= truth <= found.miou[2]
    assert found.by_threshold == plain.by_threshold
    kept = [each for each in found.iou if each is not None]
    assert np.mean(kept) == pytest.approx(found.miou[0], abs=0.02)


def tried(*falls: tuple[float, float], direction: Sequence[float] | None = None) -> list[Rehearsal]:
    """(expected, true) each."""
    ways = direction or [0.0] * len(falls)
    return [
        Rehearsal(name="", expected_fall=x, true_fall=y, direction=way)
        for (x, y), way in zip(falls, ways, strict=True)
    ]


def test_the_scale_is_least_squares_with_a_variance_that_grows_as_the_fall_does() -> None:
    falls = [(0.1, 0.05), (0.2, 0.12), (0.3, 0.3)]
    found = trust(tried(*falls))
    scale = (0.05 + 0.12 + 0.3) / (0.1 + 0.2 + 0.3)  # weighted by 1 / expected: the ratio of sums
    assert found.scale == pytest.approx(scale)
    left = [(y - scale * x) ** 2 / x for x, y in falls]
    assert found.spread == pytest.approx(np.sqrt(np.sum(left) / 2), rel=1e-6)


def test_what_changes_images_as_the_new_ones_are_changed_tells_more() -> None:
    falls = [(0.2, 0.1), (0.2, 0.1), (0.2, 0.3), (0.2, 0.3)]
    equal = trust(tried(*falls))
    assert equal.scale == pytest.approx(1)
    found = trust(tried(*falls, direction=[1, 1, 0, 0]))
    weight = np.exp(4)
    assert found.scale == pytest.approx((0.5 * weight + 1.5) / (weight + 1))
    assert found.spread < equal.spread
    # Two that weigh much tell less of the spread than four: what is left is not divided by four.
    assert found.spread > np.sqrt(0.5 * (0.2 * (found.scale - 0.5)) ** 2 / 0.2)
    across = trust(tried(*falls, direction=[-0.1, -0.1, -0.1, -0.1]))
    assert (across.scale, across.spread) == pytest.approx((equal.scale, equal.spread))


def test_the_direction_is_that_of_the_mean_embeddings_by_their_spread() -> None:
    rng = np.random.default_rng(0)
    known_NE = rng.normal(size=(200, 3)) * [1.0, 10.0, 0.1]
    known_NE -= known_NE.mean(axis=0)
    few_NE, num = known_NE[:4], len(ALTERATIONS)
    steps = [[2.0, 0, 0], [0, 20.0, 0], [0, 0, 0.2], [-1.0, 0, 0], [2.0, 20.0, 0]]
    steps += [[0.0, 0, 0]] * (num - 5)
    tried_NE = np.concatenate([few_NE, *(few_NE + step for step in steps)])
    target_NE = known_NE + np.array([1.0, 10.0, 0])
    found = directions(*(each.astype(np.float32) for each in (known_NE, target_NE, tried_NE)))
    assert list(found) == list(ALTERATIONS)
    values = list(found.values())
    assert values[:5] == pytest.approx([0.5**0.5, 0.5**0.5, 0, -(0.5**0.5), 1], abs=0.1)
    assert values[5:] == pytest.approx([0] * (num - 5), abs=1e-3)


def test_what_is_left_over_widens_the_interval_and_no_fall_is_turned_round() -> None:
    target = bold(20, 0.4, 2)
    exact, loose = (expected_miou(VAL, target, 1.0, Trust(spread=s)) for s in (0.0, 0.1))
    fall = exact.source_miou[0] - exact.by_threshold
    assert exact.miou[2] + 1.96 * 0.1 * fall**0.5 == pytest.approx(loose.miou[2])
    assert exact.miou[1] - 1.96 * 0.1 * fall**0.5 == pytest.approx(loose.miou[1])
    rising = tried((0.2, -0.1))
    assert trust(rising).scale == 0
    assert expected_miou(VAL, target, 1.0, trust(rising)).miou[0] == exact.source_miou[0]


@pytest.mark.parametrize("falls", [[], [(0.001, 0.2), (-0.002, 0.0)]])
def test_without_a_fall_thresholds_are_believed_as_they_are(
    falls: list[tuple[float, float]],
) -> None:
    assert trust(tried(*falls)) == Trust()


def test_images_one_after_the_other_are_parted() -> None:
    whole = bold(2 * (1 + len(ALTERATIONS)), 0.2, 3)
    known, altered = parted(whole)
    assert list(altered) == list(ALTERATIONS)
    assert known.truth_NM is not None
    assert whole.truth_NM is not None
    np.testing.assert_array_equal(known.truth_NM, whole.truth_NM[:2])
    np.testing.assert_array_equal(altered[next(iter(ALTERATIONS))].class_NM, whole.class_NM[2:4])
    assert known.run_N.tolist() == [0, 1]
