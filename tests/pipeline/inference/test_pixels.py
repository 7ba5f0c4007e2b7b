"""What is said about pixels, by hand; and that strips are no matter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.inference import pixels
from pipeline.inference.pixels import Prediction, Views, predict_pixels

TEACHER, OTHER, STUDENT, EARLY, EARLIER = (nn.Identity() for _ in range(5))


def of_teacher(probs_KHW: Tensor) -> Prediction:
    logits = {TEACHER: probs_KHW.log().clamp(min=-200)}
    return predict_pixels(Views(members=(TEACHER,)), logits, tuple(probs_KHW.shape[-2:]))


def test_one_opinion_by_hand() -> None:
    found = of_teacher(torch.tensor([[[0.5, 1.0, 0.3]], [[0.5, 0.0, 0.7]]]))
    assert found.classes_HW[0, 1:].tolist() == [0, 1]
    assert found.classes_HW.dtype == np.uint8
    doubt = -(0.3 * math.log2(0.3) + 0.7 * math.log2(0.7))
    np.testing.assert_allclose(found.scores["entropy"], [[1.0, 0.0, doubt]], atol=1e-6)
    np.testing.assert_allclose(found.scores["margin"], [[1.0, 0.0, 0.6]], atol=1e-6)
    np.testing.assert_allclose(found.scores["least_confidence"], [[0.5, 0.0, 0.3]], atol=1e-6)
    assert list(found.scores) == ["entropy", "margin", "least_confidence"]
    assert found.instability is None


def test_entropy_of_three_classes_is_over_log_3() -> None:
    found = of_teacher(torch.tensor([0.7, 0.2, 0.1])[:, None, None])
    expected = -sum(p * math.log(p) for p in (0.7, 0.2, 0.1)) / math.log(3)
    assert found.scores["entropy"].item() == pytest.approx(expected)


def test_entropy_by_class_is_weighed_by_probability() -> None:
    found = of_teacher(torch.tensor([[[0.5, 0.9]], [[0.5, 0.1]]]))
    doubt = -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))
    expected = [(0.5 + 0.9 * doubt) / 2, (0.5 + 0.1 * doubt) / 2]
    assert found.entropy_K.tolist() == pytest.approx(expected)
    assert found.entropy_K.sum() == pytest.approx(found.scores["entropy"].mean())


def all_views() -> tuple[Views, dict[Any, Tensor]]:
    views = Views(members=(TEACHER, OTHER), snapshots=(EARLY, EARLIER), student=STUDENT)
    generator = torch.Generator().manual_seed(0)
    return views, {view: 4 * torch.randn(4, 8, 8, generator=generator) for view in views.all}


def test_strips_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    views, logits = all_views()
    whole = predict_pixels(views, logits, (50, 30))
    monkeypatch.setattr(pixels, "STRIP", 4 * 30 * 7)
    parts = predict_pixels(views, logits, (50, 30))
    np.testing.assert_array_equal(parts.classes_HW, whole.classes_HW)
    np.testing.assert_allclose(parts.entropy_K, whole.entropy_K, atol=1e-6)
    assert parts.instability == pytest.approx(whole.instability)
    assert list(parts.scores) == list(whole.scores)
    for name, values_HW in whole.scores.items():
        assert values_HW.shape == (50, 30)
        np.testing.assert_allclose(parts.scores[name], values_HW, atol=1e-6)


def test_predictions_are_the_members_mean_and_the_student_is_held_against_the_teacher() -> None:
    probs = {
        TEACHER: torch.tensor([0.6, 0.4]),
        OTHER: torch.tensor([0.1, 0.9]),
        STUDENT: torch.tensor([0.6, 0.4]),
    }
    views = Views(members=(TEACHER, OTHER), student=STUDENT)
    logits = {view: probs_K.log()[:, None, None] for view, probs_K in probs.items()}
    found = predict_pixels(views, logits, (1, 1))
    assert found.classes_HW.tolist() == [[1]]
    assert found.scores["least_confidence"].item() == pytest.approx(0.35)
    h = {p: -(p * math.log2(p) + (1 - p) * math.log2(1 - p)) for p in (0.35, 0.6, 0.1)}
    expected = h[0.35] - (h[0.6] + h[0.1]) / 2
    assert found.scores["bald"].item() == pytest.approx(expected, abs=1e-6)
    assert found.scores["disagreement"].item() == pytest.approx(0.0, abs=1e-6)


def test_instability_is_what_earlier_teachers_saw_otherwise() -> None:
    left_KHW = torch.tensor([[[9.0, 9, 0, 0]], [[0.0, 0, 9, 9]]])
    views = Views(members=(TEACHER,), snapshots=(EARLY, EARLIER))
    logits = {TEACHER: left_KHW, EARLY: left_KHW, EARLIER: left_KHW.clone()}
    assert predict_pixels(views, logits, (1, 4)).instability == pytest.approx(0.0)
    logits[EARLIER][:, 0, 1] = torch.tensor([0.0, 9.0])  # one of the four changed
    ious = (1 / 2, 2 / 3)
    expected = (0 + 1 - sum(ious) / 2) / 2
    assert predict_pixels(views, logits, (1, 4)).instability == pytest.approx(expected)


def test_everybody_is_asked_once() -> None:
    views = Views(members=(TEACHER, EARLY), snapshots=(EARLY,), student=STUDENT)
    assert views.all == [TEACHER, EARLY, STUDENT]
