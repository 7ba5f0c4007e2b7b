"""DACS: which pixels, which labels, which weights; the whole loss: benchmarks/fidelity."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pipeline.methods.shared.protocol import Batch, Unlabelled
from pipeline.training.domain_adaptation.class_mix import (
    CrossDomainMix,
    Mixed,
    paste,
)
from pipeline.types import IGNORE
from tests.support.tiny_network import NUM_CLASSES, PixelNetwork, new_batch


def small() -> tuple[Tensor, Tensor, Tensor, Mixed]:
    """Two images of 1x4 pixels; the second target image has no valid pixel."""
    chosen_BHW = torch.tensor([[[True, True, False, False]]]).repeat(2, 1, 1)
    masks_BHW = torch.tensor([[[1, 1, 0, IGNORE]]]).repeat(2, 1, 1)
    valid_BHW = torch.tensor([[[True, True, True, False]], [[False] * 4]])
    images = torch.ones(2, 3, 1, 4)
    target = Mixed(images * 9, torch.full((2, 1, 4), 2), torch.full((2, 1, 4), 0.5), valid_BHW)
    return chosen_BHW, images, masks_BHW, target


def test_pixels_labels_and_weights_move_together() -> None:
    mixed = paste(*small())
    assert mixed.images_BCHW[0, 0, 0].tolist() == [1, 1, 9, 9]
    assert mixed.masks_BHW[0, 0, :3].tolist() == [1, 1, 2]
    assert mixed.weights_BHW[0, 0].tolist() == [1, 1, 0.5, 0.5]
    assert mixed.valid_BHW[0, 0].tolist() == [True, True, True, False]


def test_nothing_is_learnt_from_an_image_that_is_not_the_targets() -> None:
    mixed = paste(*small())
    assert not mixed.valid_BHW[1].any()
    assert mixed.images_BCHW[1].eq(9).all()


def new_mix(target: list[bool], threshold: float = 0.5, recoloured=lambda x: x) -> CrossDomainMix:
    return CrossDomainMix(
        num_classes=NUM_CLASSES,
        confidence_threshold=threshold,
        target_N=torch.tensor(target),
        recoloured=recoloured,
    )


def pieces() -> tuple[PixelNetwork, nn.Module, Batch]:
    return PixelNetwork(seed=1), PixelNetwork(seed=2).eval(), new_batch(1, unlabelled=3)


def sure_of(confidence: float) -> nn.Module:
    """A teacher that sees class 0 everywhere, as sure as that where an image is bright."""

    class Fixed(nn.Module):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            q_BHW = torch.where(images_BCHW[:, 0] > 0.5, confidence, 0.4)
            rest_BKHW = ((1 - q_BHW) / 3)[:, None].expand(-1, 3, -1, -1)
            return torch.cat([q_BHW[:, None], rest_BKHW], dim=1).log()

    return Fixed()


def test_the_weight_is_the_share_of_reliable_pixels_in_the_whole_batch() -> None:
    """2 of 5 valid target pixels are reliable; a student of even odds has CE = ln 4 everywhere."""
    student = PixelNetwork(seed=1)
    for p in student.parameters():
        p.data.zero_()
    weak_BCHW = torch.tensor([[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])[:, None, None]
    valid_BHW = torch.tensor([[[True, True, True, False]], [[True, True, False, False]]])
    weak_BCHW = weak_BCHW.expand(-1, 3, -1, -1)
    seen = Unlabelled(torch.tensor([0, 1]), weak_BCHW, valid_BHW, ())
    masks_BHW = torch.tensor([[[1, IGNORE, IGNORE, IGNORE]]])  # one class: it is pasted
    batch = Batch(torch.zeros(1, 3, 1, 4), masks_BHW, seen)
    loss = new_mix([True, True], 0.9).loss(student, sure_of(0.95), batch, seen)
    # Two pasted pixels weigh 1, three others 2/5: of five.
    assert loss.item() == pytest.approx((2 + 3 * 0.4) / 5 * math.log(4))
    # With the second image of another domain: 2 of 3, of the first image alone.
    loss = new_mix([True, False], 0.9).loss(student, sure_of(0.95), batch, seen)
    assert loss.item() == pytest.approx((1 + 2 * 2 / 3) / 3 * math.log(4))


def test_colours_are_drawn_on_the_mixed_image() -> None:
    student, teacher, batch = pieces()
    seen = batch.unlabelled
    assert seen is not None
    given: list[Tensor] = []

    def recoloured(images_BCHW: Tensor) -> Tensor:
        given.append(images_BCHW)
        return images_BCHW * 0

    shown: list[Tensor] = []
    student.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    new_mix([True] * 6, recoloured=recoloured).loss(student, teacher, batch, seen)
    assert not shown[0].any()
    weak, labelled = seen.weak_BCHW, batch.images_BCHW[[0, 1, 0]]
    from_either = (given[0] == weak) | (given[0] == labelled)
    assert from_either.all()
    assert (given[0] != weak).any()


def test_without_a_target_image_it_teaches_nothing_and_the_teacher_never_learns() -> None:
    student, teacher, batch = pieces()
    assert batch.unlabelled is not None
    loss = new_mix([False] * 6).loss(student, teacher, batch, batch.unlabelled)
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is None for p in teacher.parameters())
    assert not any(p.grad.any() for p in student.parameters() if p.grad is not None)
