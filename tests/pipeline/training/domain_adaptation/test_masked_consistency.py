"""MIC: which patches are hidden, and the loss in plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pipeline.methods.shared.protocol import Batch
from pipeline.training.domain_adaptation.masked_consistency import MaskedConsistency, kept_patches
from tests.support.tiny_network import NUM_CLASSES, PixelNetwork, new_batch

SIZE = (16, 24)


@pytest.mark.parametrize(("size", "rows", "columns"), [((16, 24), 4, 6), ((14, 27), 4, 7)])
def test_patches_are_whole_and_drawn_for_each_image(
    size: tuple[int, int], rows: int, columns: int
) -> None:
    images_BCHW = torch.empty(3, 3, *size)
    torch.manual_seed(4)
    kept = kept_patches(images_BCHW, 0.7, 4)
    torch.manual_seed(4)
    drawn = torch.rand(3, 1, rows, columns)
    assert kept.shape == (3, 1, *size)
    for b in range(3):
        for y in range(size[0]):
            for x in range(size[1]):
                patch = drawn[b, 0, y * rows // size[0], x * columns // size[1]]
                assert kept[b, 0, y, x] == (1.0 if patch > 0.7 else 0.0)


def test_as_many_are_hidden_as_asked_for_and_a_small_image_is_one_patch() -> None:
    torch.manual_seed(0)
    kept = kept_patches(torch.empty(8, 3, 256, 256), 0.7, 8)
    assert 1 - kept.mean().item() == pytest.approx(0.7, abs=0.02)
    small = kept_patches(torch.empty(64, 3, 16, 16), 0.7, 64).flatten(1)
    assert (small == small[:, :1]).all()
    assert 0 < small[:, 0].mean() < 0.6


class SureOfSome(nn.Module):
    """Logits by a fixed convolution, sure of some pixels alone."""

    def __init__(self) -> None:
        super().__init__()
        self.network = PixelNetwork(seed=7)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        return 4 * self.network(images_BCHW)


def term_and_batch(tau: float, is_target: list[bool]) -> tuple[MaskedConsistency, Batch]:
    target_N = torch.tensor(is_target)
    term = MaskedConsistency(confidence_threshold=tau, ratio=0.5, patch_px=8, target_N=target_N)
    return term, new_batch(1, size=SIZE)


def test_the_loss_is_the_papers_in_plain_loops() -> None:
    """w CE(student(masked), yhat): one w for the batch, of the pixels that are of the target."""
    tau, is_target = 0.6, [True, False, True, True, True, True]
    term, batch = term_and_batch(tau, is_target)
    seen, teacher, student = batch.unlabelled, SureOfSome(), PixelNetwork(seed=1)
    assert seen is not None
    torch.manual_seed(3)
    found = term.loss(student, teacher, batch, seen)
    torch.manual_seed(3)
    kept = kept_patches(seen.weak_BCHW, 0.5, 8)
    with torch.no_grad():
        target = teacher(seen.weak_BCHW).softmax(1).tolist()
        said = student(seen.strong[0].images_BCHW * kept).softmax(1).tolist()
    total, sure, num_valid = 0.0, 0, 0
    for b, place in enumerate(seen.index_B.tolist()):
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                if not (seen.valid_BHW[b, y, x] and is_target[place]):
                    continue
                num_valid += 1
                probs = [target[b][k][y][x] for k in range(NUM_CLASSES)]
                sure += max(probs) >= tau
                total -= math.log(said[b][probs.index(max(probs))][y][x])
    assert 0 < sure < num_valid < 3 * SIZE[0] * SIZE[1] * 0.75
    assert found.item() == pytest.approx(total / num_valid * sure / num_valid, rel=1e-4)
    found.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert student.head.weight.grad is not None


def test_images_of_other_domains_teach_nothing() -> None:
    term, batch = term_and_batch(0.0, [False] * 6)
    student = PixelNetwork(seed=1)
    assert batch.unlabelled is not None
    loss = term.loss(student, SureOfSome(), batch, batch.unlabelled)
    loss.backward()
    assert loss.item() == 0.0
    assert not student.head.weight.grad.any()
