"""UA-MT's loss against the paper's formula in plain loops."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from benchmarks.fidelity.comparisons import largest
from pipeline.config.params import MethodParams
from pipeline.methods import Batch, MethodSetup, StrongView, Unlabelled
from pipeline.methods.shared.losses import labelled_loss
from pipeline.methods.ua_mt import UncertaintyAwareMeanTeacher
from pipeline.types import IGNORE
from tests.support.tiny_network import PixelNetwork, TinySet, new_batch, tiny_network

BATCH, NUM_CLASSES, HEIGHT, WIDTH = 2, 3, 5, 6


def new_method(new_network=PixelNetwork, num_classes: int = NUM_CLASSES, **options: float):
    setup = MethodSetup(
        params=MethodParams(
            name="ua_mt", consistency_weight=10.0, rampup_share=0.0, options=options
        ),
        num_classes=num_classes,
        num_steps=10,
        new_network=lambda _: new_network(num_classes=num_classes),
        labelled_loss=labelled_loss,
        unlabelled=TinySet(),
    )
    return UncertaintyAwareMeanTeacher(setup)


def method_and_batch(**options: float) -> tuple[UncertaintyAwareMeanTeacher, Batch]:
    method = new_method(**options)
    torch.manual_seed(3)
    with torch.no_grad():
        for p in method.teacher.network.parameters():
            p.add_(torch.randn_like(p))
    valid_BHW = torch.rand(BATCH, HEIGHT, WIDTH) < 0.8
    view = StrongView(torch.rand(BATCH, 3, HEIGHT, WIDTH), torch.zeros_like(valid_BHW))
    weak_BCHW = torch.rand(BATCH, 3, HEIGHT, WIDTH)
    unlabelled = Unlabelled(torch.arange(BATCH), weak_BCHW, valid_BHW, (view,))
    masks_BHW = torch.full((2, HEIGHT, WIDTH), IGNORE)
    return method, Batch(torch.rand(2, 3, HEIGHT, WIDTH), masks_BHW, unlabelled)


def loss_difference(step: int, dropout: float) -> float:
    """Of the loss and the certain share, pixel by pixel."""
    method, batch = method_and_batch(num_passes=3, noise=0.5, dropout=dropout)
    assert batch.unlabelled is not None
    _, weak, valid_BHW, (view,) = batch.unlabelled
    target = method.teacher.network(weak).softmax(1)
    probs = method.student(view.images_BCHW).softmax(1)
    torch.manual_seed(5)
    passes = []
    for _ in range(3):
        noisy = weak + (0.5 * torch.randn_like(weak)).clamp(-1.0, 1.0)
        dropped = F.dropout2d(noisy, dropout) if dropout else noisy  # the network's deepest map
        passes.append(method.teacher.network.head(dropped).softmax(1).tolist())
    limit = (0.75 + 0.25 * math.exp(-5 * (1 - step / 10) ** 2)) * math.log(NUM_CLASSES)
    total, num_certain = 0.0, 0
    for b in range(BATCH):
        for y in range(HEIGHT):
            for x in range(WIDTH):
                mean_K = [sum(p[b][k][y][x] for p in passes) / 3 for k in range(NUM_CLASSES)]
                uncertainty = -sum(p * math.log(p) for p in mean_K)
                if valid_BHW[b, y, x] and uncertainty < limit:
                    num_certain += 1
                    total += sum(
                        (probs[b, k, y, x] - target[b, k, y, x]).item() ** 2
                        for k in range(NUM_CLASSES)
                    )
    assert num_certain > 0
    assert step == 10 or num_certain < valid_BHW.sum()
    torch.manual_seed(5)
    losses = method(batch, step)
    expected = 10.0 * total / (NUM_CLASSES * num_certain)
    found = torch.stack([losses.terms["consistency"], losses.logs["reliable_share"]])
    return largest(found, [expected, num_certain / int(valid_BHW.sum())])


@pytest.mark.parametrize(("step", "dropout"), [(0, 0.0), (4, 0.3), (10, 0.0)])
def test_it_is_the_papers_formula_pixel_by_pixel(step: int, dropout: float) -> None:
    assert loss_difference(step, dropout) < 1e-5


def test_a_network_without_dropout_is_given_some_and_another_keeps_its_own() -> None:
    method, batch = method_and_batch(noise=0.0, num_passes=2)
    assert batch.unlabelled is not None
    assert method.given_dropout == 0.5
    weak = batch.unlabelled.weak_BCHW
    found = [method._uncertainty(method.teacher, weak) for _ in range(2)]
    assert not torch.equal(*found)
    assert new_method(tiny_network, 4).given_dropout == 0.0


def test_the_order_of_classes_does_not_matter() -> None:
    method, batch = method_and_batch(noise=0.0, dropout=0.0)
    before = method(batch, 3).terms["consistency"].item()
    with torch.no_grad():
        for network in (method.student, method.teacher.network):
            network.head.weight.copy_(network.head.weight[[2, 0, 1]].clone())
            network.head.bias.copy_(network.head.bias[[2, 0, 1]].clone())
    assert method(batch, 3).terms["consistency"].item() == pytest.approx(before, rel=1e-4)


def test_where_nothing_is_certain_the_unsupervised_gradient_is_exactly_0() -> None:
    method, batch = method_and_batch(limit_start=0.0)
    with torch.no_grad():
        for p in method.teacher.network.parameters():
            p.zero_()
    losses = method(batch, 0)
    losses.terms["consistency"].backward()
    assert losses.logs["reliable_share"].item() == 0.0
    assert all(p.grad is not None and not p.grad.any() for p in method.student.parameters())


def test_the_teachers_dropout_is_part_of_the_uncertainty() -> None:
    method = new_method(tiny_network, 4, noise=0.0, num_passes=2)
    method.train()
    unlabelled = new_batch(1).unlabelled
    assert unlabelled is not None
    found = [method._uncertainty(method.teacher, unlabelled.weak_BCHW) for _ in range(2)]
    assert not torch.equal(*found)
    assert not any(module.training for module in method.teacher.modules())
