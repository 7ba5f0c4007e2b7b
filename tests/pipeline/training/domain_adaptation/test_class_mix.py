"""DACS: which pixels, which labels, which weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.methods.shared.protocol import Batch
from pipeline.training.domain_adaptation.class_mix import (
    CrossDomainMix,
    Mixed,
    paste,
    reliable_shares,
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


def test_a_weight_is_the_share_of_valid_pixels_that_are_reliable() -> None:
    reliable_BHW = torch.tensor([[[True, True, False, False]], [[True] * 4]])
    valid_BHW = torch.tensor([[[False, True, True, True]], [[False] * 4]])
    weights_BHW = reliable_shares(reliable_BHW, valid_BHW)
    torch.testing.assert_close(weights_BHW[:, 0, 0], torch.tensor([1 / 3, 0.0]))
    assert weights_BHW.shape == reliable_BHW.shape


def new_mix(target: list[bool], threshold: float = 0.5) -> CrossDomainMix:
    return CrossDomainMix(
        num_classes=NUM_CLASSES, confidence_threshold=threshold, target_N=torch.tensor(target)
    )


def pieces() -> tuple[PixelNetwork, nn.Module, Batch]:
    return PixelNetwork(seed=1), PixelNetwork(seed=2).eval(), new_batch(1, unlabelled=3)


def test_the_loss_is_that_of_half_of_the_labelled_classes_over_pseudo_labels() -> None:
    """Image by image and pixel by pixel; the drawn classes are read off the mixed image."""
    student, teacher, batch = pieces()
    seen = batch.unlabelled
    assert seen is not None
    shown: list[Tensor] = []
    student.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    loss = new_mix([True] * 6).loss(student, teacher, batch, seen)
    (mixed_BCHW,) = shown
    total, count = 0.0, 0
    for b in range(3):
        source, mask_HW = batch.images_BCHW[b % 2], batch.masks_BHW[b % 2]
        pasted_HW = (mixed_BCHW[b] == source).all(dim=0)
        present = set(mask_HW.unique().tolist()) - {IGNORE}
        drawn = set(mask_HW[pasted_HW].unique().tolist())
        assert len(drawn) == len(present) // 2
        assert pasted_HW.equal(torch.isin(mask_HW, torch.tensor(sorted(drawn))))
        probs_KHW = teacher(seen.weak_BCHW[b : b + 1])[0].softmax(0)
        confidence_HW, pseudo_HW = probs_KHW.max(0)
        weight = (confidence_HW >= 0.5)[seen.valid_BHW[b]].float().mean()
        losses_HW = F.cross_entropy(
            student(mixed_BCHW[b : b + 1]),
            torch.where(pasted_HW, mask_HW, pseudo_HW)[None],
            reduction="none",
        )[0]
        valid_HW = pasted_HW | seen.valid_BHW[b]
        losses_HW = torch.where(pasted_HW, losses_HW, losses_HW * weight)
        total, count = total + losses_HW[valid_HW].sum().item(), count + int(valid_HW.sum())
    torch.testing.assert_close(loss.item(), total / count, atol=1e-5, rtol=1e-5)


def test_without_a_target_image_it_teaches_nothing_and_the_teacher_never_learns() -> None:
    student, teacher, batch = pieces()
    assert batch.unlabelled is not None
    loss = new_mix([False] * 6).loss(student, teacher, batch, batch.unlabelled)
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is None for p in teacher.parameters())
    assert not any(p.grad.any() for p in student.parameters() if p.grad is not None)
