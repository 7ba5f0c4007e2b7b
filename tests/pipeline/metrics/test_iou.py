"""Confusion matrices by hand."""

from __future__ import annotations

import pytest
import torch

from pipeline.metrics.iou import agreement, confusion_matrix, iou_per_class, mean_iou
from pipeline.types import IGNORE


def test_counts_by_hand() -> None:
    truth_HW = torch.tensor([[0, 0, 1], [1, 2, IGNORE]], dtype=torch.uint8)
    predicted_HW = torch.tensor([[0, 1, 1], [1, 0, 2]])
    confusion_KK = confusion_matrix(predicted_HW, truth_HW, 4)
    assert confusion_KK.dtype == torch.int64
    assert confusion_KK.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    # Class 0: 1 hit of 1 + 1 missed + 1 false; class 1: 2 of 3; class 2: 0 of 1; class 3: nowhere.
    ious = iou_per_class(confusion_KK)
    assert ious == [pytest.approx(1 / 3), pytest.approx(2 / 3), 0.0, None]
    assert mean_iou(ious) == pytest.approx(1 / 3)


def test_all_ignored_is_not_measurable_rather_than_0() -> None:
    truth_HW = torch.full((3, 3), IGNORE, dtype=torch.uint8)
    ious = iou_per_class(confusion_matrix(torch.zeros(3, 3), truth_HW, 2))
    assert ious == [None, None]
    assert mean_iou(ious) is None


def test_a_class_that_the_truth_does_not_have_is_not_yet_measurable() -> None:
    truth_HW = torch.tensor([[0, 0, 1, 1]])
    predicted_HW = torch.tensor([[0, 2, 1, 1]])
    confusion_KK = confusion_matrix(predicted_HW, truth_HW, 3)
    ious = iou_per_class(confusion_KK)
    assert ious == [0.5, 1.0, None]  # what is seen as class 2 is missed of class 0
    assert mean_iou(ious) == 0.75
    assert agreement(confusion_KK) == agreement(confusion_KK.T) == 0.5  # neither side is the truth
    assert agreement(torch.zeros(3, 3)) is None


def test_renaming_the_classes_renames_the_result() -> None:
    truth_HW, predicted_HW = torch.randint(5, (20, 20)), torch.randint(5, (20, 20))
    order = torch.tensor([3, 0, 4, 1, 2])
    plain = iou_per_class(confusion_matrix(predicted_HW, truth_HW, 5))
    renamed = iou_per_class(confusion_matrix(order[predicted_HW], order[truth_HW], 5))
    assert [renamed[order[k]] for k in range(5)] == plain


def test_counts_of_images_add_up_to_the_counts_of_all() -> None:
    truth_BHW, predicted_BHW = torch.randint(3, (2, 8, 8)), torch.randint(3, (2, 8, 8))
    added = sum(confusion_matrix(predicted_BHW[i], truth_BHW[i], 3) for i in range(2))
    assert torch.equal(added, confusion_matrix(predicted_BHW, truth_BHW, 3))
