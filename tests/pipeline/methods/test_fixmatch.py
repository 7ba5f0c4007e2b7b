"""FixMatch's loss against the paper's formula in plain loops."""

from __future__ import annotations

import pytest
import torch

from pipeline.config.params import MethodParams
from pipeline.methods import Batch
from pipeline.methods.fixmatch import FixMatch
from pipeline.methods.shared.feature_perturbations import FEATURE_PERTURBATIONS, Scene
from tests.support.tiny_network import estrange, tiny_setup, unlabelled_batch

BATCH, NUM_CLASSES, HEIGHT, WIDTH = 3, 4, 5, 6


def method_and_batch(threshold: float, weight: float = 2.0) -> tuple[FixMatch, Batch]:
    torch.manual_seed(0)
    params = MethodParams(
        confidence_threshold=threshold, consistency_weight=weight, rampup_share=0.5
    )
    method = FixMatch(tiny_setup(params))
    estrange(method.teacher)
    return method, unlabelled_batch(BATCH, HEIGHT, WIDTH)


def test_without_a_reliable_pixel_the_unsupervised_gradient_is_exactly_0() -> None:
    method, batch = method_and_batch(threshold=1.0)
    losses = method(batch, 5)
    losses.terms["consistency"].backward()
    assert losses.logs["reliable_share"].item() == 0.0
    assert all(p.grad is not None and not p.grad.any() for p in method.student.parameters())


def test_a_perturbation_sees_what_the_target_says_of_the_mixed_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[torch.Tensor] = []

    def look(features: list[torch.Tensor], scene: Scene) -> list[torch.Tensor]:
        seen.append(scene.probs_BKHW)
        return features

    monkeypatch.setitem(FEATURE_PERTURBATIONS, "look", look)
    method, batch = method_and_batch(threshold=0.6)
    method.perturbation_names = ("look",)
    method(batch, 5)
    assert batch.unlabelled is not None
    _, weak, _, (view,) = batch.unlabelled
    plain_BKHW = method.teacher.network(weak).softmax(1)
    for b in range(BATCH):
        foreign_HW = view.boxes_BHW[b]
        torch.testing.assert_close(seen[0][b][:, foreign_HW], plain_BKHW[b - 1][:, foreign_HW])
        torch.testing.assert_close(seen[0][b][:, ~foreign_HW], plain_BKHW[b][:, ~foreign_HW])
