"""What is said about pixels, by hand; and that strips are no matter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.inference import strips
from pipeline.inference.pixels import Prediction, Views, predict_pixels
from pipeline.inference.tiles import Band
from pipeline.records.regions import Box
from pipeline.uncertainty.pixel_values import PixelValues

TEACHER, OTHER, STUDENT, EARLY, EARLIER = (nn.Identity() for _ in range(5))


def predict(
    views: Views, logits: dict[Any, Tensor], size: tuple[int, int], rows: int = 3
) -> Prediction:
    return predict_pixels(views, bands_of(logits, rows), size).whole


def bands_of(logits: dict[Any, Tensor], rows: int) -> Iterator[dict[Any, Band]]:
    height = next(iter(logits.values())).shape[1]
    for at in range(0, height, rows):
        yield {view: Band(each[:, at : at + rows], at, height) for view, each in logits.items()}


def array(values: PixelValues) -> np.ndarray:
    return np.concatenate([values_RW for _, values_RW in values.strips()])


def of_teacher(probs_KHW: Tensor) -> Prediction:
    logits = {TEACHER: probs_KHW.log().clamp(min=-200)}
    return predict(Views(members=(TEACHER,)), logits, tuple(probs_KHW.shape[-2:]))


def test_one_opinion_by_hand() -> None:
    found = of_teacher(torch.tensor([[[0.5, 1.0, 0.3]], [[0.5, 0.0, 0.7]]]))
    assert found.classes_HW[0, 1:].tolist() == [0, 1]
    assert found.classes_HW.dtype == np.uint8
    doubt = -(0.3 * math.log2(0.3) + 0.7 * math.log2(0.7))
    np.testing.assert_allclose(array(found.scores["entropy"]), [[1.0, 0.0, doubt]], atol=1e-6)
    np.testing.assert_allclose(array(found.scores["margin"]), [[1.0, 0.0, 0.6]], atol=1e-6)
    np.testing.assert_allclose(
        array(found.scores["least_confidence"]), [[0.5, 0.0, 0.3]], atol=1e-6
    )
    assert list(found.scores) == ["entropy", "margin", "least_confidence"]
    assert found.instability is None


def test_entropy_of_three_classes_is_over_log_3() -> None:
    found = of_teacher(torch.tensor([0.7, 0.2, 0.1])[:, None, None])
    expected = -sum(p * math.log(p) for p in (0.7, 0.2, 0.1)) / math.log(3)
    assert array(found.scores["entropy"]).item() == pytest.approx(expected)


def test_entropy_by_class_is_weighed_by_probability() -> None:
    found = of_teacher(torch.tensor([[[0.5, 0.9]], [[0.5, 0.1]]]))
    doubt = -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))
    expected = [(0.5 + 0.9 * doubt) / 2, (0.5 + 0.1 * doubt) / 2]
    assert found.entropy_K.tolist() == pytest.approx(expected)
    assert found.entropy_K.sum() == pytest.approx(array(found.scores["entropy"]).mean())


def all_views() -> tuple[Views, dict[Any, Tensor]]:
    views = Views(members=(TEACHER, OTHER), snapshots=(EARLY, EARLIER), student=STUDENT)
    generator = torch.Generator().manual_seed(0)
    return views, {view: 4 * torch.randn(4, 8, 8, generator=generator) for view in views.all}


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_strips_and_bands_make_no_difference(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    views, logits = all_views()
    whole = predict(views, logits, (50, 30), rows=100)
    monkeypatch.setattr(strips, "STRIP", 4 * 30 * 7)
    parts = predict(views, logits, (50, 30), rows=rows)
    np.testing.assert_array_equal(parts.classes_HW, whole.classes_HW)
    np.testing.assert_allclose(parts.entropy_K, whole.entropy_K, atol=1e-6)
    assert parts.instability == pytest.approx(whole.instability)
    assert list(parts.scores) == list(whole.scores)
    for name, values in whole.scores.items():
        assert values.shape == (50, 30)
        np.testing.assert_allclose(array(parts.scores[name]), array(values), atol=1e-6)


def test_a_box_is_predicted_as_if_it_were_an_image() -> None:
    views, logits = all_views()
    box = Box(5, 9, 11, 20)
    (found,) = predict_pixels(views, bands_of(logits, 3), (50, 30), boxes=[box]).boxes
    resized = {
        view: F.interpolate(each[None], (50, 30), mode="bilinear")[0]
        for view, each in logits.items()
    }
    cut = {view: each[:, *box.slices] for view, each in resized.items()}
    alone = predict(views, cut, (20, 11))
    np.testing.assert_array_equal(found.classes_HW, alone.classes_HW)
    np.testing.assert_allclose(found.entropy_K, alone.entropy_K, atol=1e-6)
    assert found.instability == pytest.approx(alone.instability, abs=1e-9)
    for name, values in alone.scores.items():
        np.testing.assert_allclose(array(found.scores[name]), array(values), atol=1e-6)


def test_predictions_are_the_members_mean_and_the_student_is_held_against_the_teacher() -> None:
    probs = {
        TEACHER: torch.tensor([0.6, 0.4]),
        OTHER: torch.tensor([0.1, 0.9]),
        STUDENT: torch.tensor([0.6, 0.4]),
    }
    views = Views(members=(TEACHER, OTHER), student=STUDENT)
    logits = {view: probs_K.log()[:, None, None] for view, probs_K in probs.items()}
    found = predict(views, logits, (1, 1))
    assert found.classes_HW.tolist() == [[1]]
    assert array(found.scores["least_confidence"]).item() == pytest.approx(0.35)
    h = {p: -(p * math.log2(p) + (1 - p) * math.log2(1 - p)) for p in (0.35, 0.6, 0.1)}
    expected = h[0.35] - (h[0.6] + h[0.1]) / 2
    assert array(found.scores["bald"]).item() == pytest.approx(expected, abs=1e-6)
    assert array(found.scores["disagreement"]).item() == pytest.approx(0.0, abs=1e-6)


def test_instability_is_what_earlier_teachers_saw_otherwise() -> None:
    left_KHW = torch.tensor([[[9.0, 9, 0, 0]], [[0.0, 0, 9, 9]]])
    views = Views(members=(TEACHER,), snapshots=(EARLY, EARLIER))
    logits = {TEACHER: left_KHW, EARLY: left_KHW, EARLIER: left_KHW.clone()}
    assert predict(views, logits, (1, 4)).instability == pytest.approx(0.0)
    logits[EARLIER][:, 0, 1] = torch.tensor([0.0, 9.0])  # one of the four changed
    ious = (1 / 2, 2 / 3)
    expected = (0 + 1 - sum(ious) / 2) / 2
    assert predict(views, logits, (1, 4)).instability == pytest.approx(expected)


def test_everybody_is_asked_once() -> None:
    views = Views(members=(TEACHER, EARLY), snapshots=(EARLY,), student=STUDENT)
    assert views.all == [TEACHER, EARLY, STUDENT]
