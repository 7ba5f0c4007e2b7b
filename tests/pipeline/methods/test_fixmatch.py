"""FixMatch's loss against the paper's formula in plain loops."""

from __future__ import annotations

import math

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


def test_it_is_the_papers_formula_pixel_by_pixel() -> None:
    method, batch = method_and_batch(threshold=0.6)
    assert batch.unlabelled is not None
    _, weak, valid_BHW, (view,) = batch.unlabelled
    mixed_BCHW = view.images_BCHW.clone()
    for b in range(BATCH):
        mixed_BCHW[b, :, view.boxes_BHW[b]] = view.images_BCHW[b - 1][:, view.boxes_BHW[b]]
    target_BKHW = method.teacher.network(weak).softmax(1).tolist()
    probs_BKHW = method.student(mixed_BCHW).softmax(1).tolist()
    total, kept, num_valid = 0.0, 0, 0
    for b in range(BATCH):
        for y in range(HEIGHT):
            for x in range(WIDTH):
                source = (b - 1) % BATCH if view.boxes_BHW[b, y, x] else b
                if not valid_BHW[source, y, x]:
                    continue
                num_valid += 1
                target_K = [target_BKHW[source][k][y][x] for k in range(NUM_CLASSES)]
                if max(target_K) >= 0.6:
                    kept += 1
                    total -= math.log(probs_BKHW[b][target_K.index(max(target_K))][y][x])
    assert 0 < kept < num_valid
    losses = method(batch, 2)
    ramp = math.exp(-5 * (1 - 2 / 5) ** 2)
    consistency = losses.terms["consistency"].item()
    assert consistency == pytest.approx(2.0 * ramp * total / num_valid, rel=1e-4)
    assert losses.logs["reliable_share"].item() == pytest.approx(kept / num_valid)


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
