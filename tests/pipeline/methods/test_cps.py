"""CPS against the paper's formula in plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from benchmarks.fidelity.comparisons import largest
from pipeline.config.params import MethodParams
from pipeline.methods import Batch, StrongView, Unlabelled
from pipeline.methods.cps import CPS
from pipeline.types import IGNORE
from tests.support.tiny_network import tiny_setup

BATCH, NUM_CLASSES, HEIGHT, WIDTH = 3, 4, 5, 6


def method_and_batch(**knobs) -> tuple[CPS, Batch]:
    params = MethodParams(name="cps", consistency_weight=1.5, rampup_share=0.0, **knobs)
    setup = tiny_setup(params, NUM_CLASSES)
    method = CPS(setup)
    torch.manual_seed(2)
    boxes_BHW = torch.rand(BATCH, HEIGHT, WIDTH) < 0.4
    valid_BHW = torch.rand(BATCH, HEIGHT, WIDTH) < 0.8
    view = StrongView(torch.rand(BATCH, 3, HEIGHT, WIDTH), boxes_BHW)
    weak_BCHW = torch.rand(BATCH, 3, HEIGHT, WIDTH)
    unlabelled = Unlabelled(torch.arange(BATCH), weak_BCHW, valid_BHW, (view,))
    masks_BHW = torch.randint(NUM_CLASSES, (2, HEIGHT, WIDTH))
    return method, Batch(torch.rand(2, 3, HEIGHT, WIDTH), masks_BHW, unlabelled)


def classes_of(logits_BKHW: torch.Tensor, image: int, y: int, x: int) -> int:
    logits_K = [logits_BKHW[image, k, y, x].item() for k in range(NUM_CLASSES)]
    return logits_K.index(max(logits_K))


def mixed_difference() -> float:
    """Of the loss and the agreement, pixel by pixel."""
    method, batch = method_and_batch()
    assert batch.unlabelled is not None
    _, weak_BCHW, valid_BHW, (view,) = batch.unlabelled
    mixed_BCHW = view.images_BCHW.clone()
    for b in range(BATCH):
        mixed_BCHW[b, :, view.boxes_BHW[b]] = view.images_BCHW[b - 1][:, view.boxes_BHW[b]]
    networks: list[nn.Module] = [method.student, method.other]
    total, num_valid, num_alike = 0.0, 0, 0
    for learner, labeller in (networks, networks[::-1]):
        probs_BKHW = learner(mixed_BCHW).softmax(1).detach()
        labels_BKHW = labeller(weak_BCHW)
        for b in range(BATCH):
            for y in range(HEIGHT):
                for x in range(WIDTH):
                    source = (b - 1) % BATCH if view.boxes_BHW[b, y, x] else b
                    if valid_BHW[source, y, x]:
                        label = classes_of(labels_BKHW, source, y, x)
                        total -= math.log(probs_BKHW[b, label, y, x])
                        num_valid += 1
    one_BKHW, other_BKHW = (network(weak_BCHW) for network in networks)
    for b, y, x in valid_BHW.nonzero().tolist():
        num_alike += classes_of(one_BKHW, b, y, x) == classes_of(other_BKHW, b, y, x)
    losses = method(batch, 5)
    agreement = num_alike / int(valid_BHW.sum())
    assert 0 < agreement < 1
    found = torch.stack([losses.terms["consistency"], losses.logs["agreement"]])
    return largest(found, [1.5 * total / (num_valid / 2), agreement])


def test_each_learns_what_the_other_says_on_the_mixed_images() -> None:
    assert mixed_difference() < 1e-5


def unmixed_difference() -> float:
    """Of the loss on unlabelled and labelled images."""
    method, batch = method_and_batch(mixes=["none"])
    assert batch.unlabelled is not None
    batch.masks_BHW[0, :2] = IGNORE
    _, weak_BCHW, valid_BHW, (view,) = batch.unlabelled
    seen = [
        (view.images_BCHW, weak_BCHW, valid_BHW),
        (batch.images_BCHW, batch.images_BCHW, batch.masks_BHW != IGNORE),
    ]
    total = 0.0
    networks: list[nn.Module] = [method.student, method.other]
    for learner, labeller in (networks, networks[::-1]):
        for images_BCHW, labelled_BCHW, counted_BHW in seen:
            probs_BKHW, said_BKHW = (
                learner(images_BCHW).softmax(1).detach(),
                labeller(labelled_BCHW),
            )
            places = counted_BHW.nonzero().tolist()
            losses = [
                -math.log(probs_BKHW[b, classes_of(said_BKHW, b, y, x), y, x]) for b, y, x in places
            ]
            total += sum(losses) / len(losses)
    return largest(method(batch, 5).terms["consistency"], 1.5 * total)


def test_without_mixing_each_learns_the_others_labels_on_labelled_images_too() -> None:
    assert unmixed_difference() < 1e-5


def test_labels_by_hand_without_mixing() -> None:
    """f gives class 0 always 3/4, g class 1: each pays ln 12 for the other's, on both kinds."""
    method, batch = method_and_batch(mixes=["none"])
    for network, favoured in ((method.student, 0), (method.other, 1)):
        network.head.weight.data.zero_()
        network.head.bias.data.fill_(math.log(1 / 12))
        network.head.bias.data[favoured] = math.log(3 / 4)
    found = method(batch, 5).terms["consistency"].item()
    assert found == pytest.approx(1.5 * 4 * math.log(12), rel=1e-5)


def test_both_learn_from_labels_and_from_each_other() -> None:
    method, batch = method_and_batch()
    for term in method(batch, 5).terms.values():
        method.zero_grad()
        term.backward(retain_graph=True)
        for network in (method.student, method.other):
            assert any(p.grad.any() for p in network.parameters())


def test_the_loss_does_not_care_which_network_is_first() -> None:
    method, batch = method_and_batch()
    losses = method(batch, 5)
    method.student, method.other = method.other, method.student
    swapped = method(batch, 5)
    for name, term in losses.terms.items():
        torch.testing.assert_close(term, swapped.terms[name])
