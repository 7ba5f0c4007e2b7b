"""CutMix-Seg's loss against the paper's formula in plain loops."""

from __future__ import annotations

import pytest
import torch

from benchmarks.fidelity.comparisons import largest
from pipeline.config.params import MethodParams
from pipeline.methods import Batch
from pipeline.methods.cutmix_seg import CutMixSeg
from tests.support.tiny_network import estrange, tiny_setup, unlabelled_batch

BATCH, NUM_CLASSES, HEIGHT, WIDTH = 3, 4, 5, 6


def method_and_batch(threshold: float, *, per_pixel: bool = False) -> tuple[CutMixSeg, Batch]:
    params = MethodParams(
        name="cutmix_seg",
        confidence_threshold=threshold,
        consistency_weight=2.0,
        rampup_share=0.0,
        options={"per_pixel": per_pixel},
    )
    method = CutMixSeg(tiny_setup(params))
    torch.manual_seed(1)
    estrange(method.teacher)
    return method, unlabelled_batch(BATCH, HEIGHT, WIDTH)


def loss_difference(per_pixel: bool) -> float:
    """Of the loss and the reliable share, pixel by pixel."""
    method, batch = method_and_batch(0.6, per_pixel=per_pixel)
    assert batch.unlabelled is not None
    _, weak, valid_BHW, (view,) = batch.unlabelled
    mixed_BCHW = view.images_BCHW.clone()
    for b in range(BATCH):
        mixed_BCHW[b, :, view.boxes_BHW[b]] = view.images_BCHW[b - 1][:, view.boxes_BHW[b]]
    target_BKHW = method.teacher.network(weak).softmax(1).tolist()
    probs_BKHW = method.student(mixed_BCHW).softmax(1).tolist()
    distances, reliable = [], []
    for b in range(BATCH):
        for y in range(HEIGHT):
            for x in range(WIDTH):
                source = (b - 1) % BATCH if view.boxes_BHW[b, y, x] else b
                if not valid_BHW[source, y, x]:
                    continue
                target_K = [target_BKHW[source][k][y][x] for k in range(NUM_CLASSES)]
                probs_K = [probs_BKHW[b][k][y][x] for k in range(NUM_CLASSES)]
                distances.append(sum((p - t) ** 2 for p, t in zip(probs_K, target_K, strict=True)))
                reliable.append(max(target_K) >= 0.6)
    assert 0 < sum(reliable) < len(reliable)
    rate = sum(reliable) / len(reliable)
    weights = reliable if per_pixel else [rate] * len(reliable)
    total = sum(w * d for w, d in zip(weights, distances, strict=True)) / len(distances)
    losses = method(batch, 2)
    found = torch.stack([losses.terms["consistency"], losses.logs["reliable_share"]])
    return largest(found, [2.0 * total, rate])


@pytest.mark.parametrize("per_pixel", [False, True])
def test_it_is_the_papers_formula_pixel_by_pixel(per_pixel: bool) -> None:
    assert loss_difference(per_pixel) < 1e-5


@pytest.mark.parametrize("per_pixel", [False, True])
def test_without_a_reliable_pixel_the_unsupervised_gradient_is_exactly_0(per_pixel: bool) -> None:
    method, batch = method_and_batch(1.0, per_pixel=per_pixel)
    method(batch, 5).terms["consistency"].backward()
    assert all(p.grad is not None and not p.grad.any() for p in method.student.parameters())


def test_the_order_of_classes_does_not_matter() -> None:
    method, batch = method_and_batch(0.6)
    before = method(batch, 3).terms["consistency"].item()
    order = [2, 0, 3, 1]
    with torch.no_grad():
        for network in (method.student, method.teacher.network):
            network.head.weight.copy_(network.head.weight[order].clone())
            network.head.bias.copy_(network.head.bias[order].clone())
    assert method(batch, 3).terms["consistency"].item() == pytest.approx(before, rel=1e-4)
