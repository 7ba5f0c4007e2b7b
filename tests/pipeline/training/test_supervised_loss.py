"""Losses of labelled pixels against loops over single pixels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pipeline.config.params import TrainParams
from pipeline.methods.shared.losses import AUXILIARY_WEIGHT, labelled_loss
from pipeline.training.supervised_loss import (
    ALPHA,
    BETA,
    OHEM_MIN_KEPT,
    build_labelled_loss,
    hard_pixels,
    symmetric_cross_entropy,
)
from pipeline.types import IGNORE

NUM_CLASSES = 3


class Fixed:
    """A network whose logits are given, with an auxiliary head's or without."""

    def __init__(self, logits_BKHW: Tensor, auxiliary_BKHW: Tensor | None = None) -> None:
        self.logits = logits_BKHW, auxiliary_BKHW

    def with_auxiliary(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.logits


@pytest.fixture
def logits_BKHW() -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return (4 * torch.randn(2, NUM_CLASSES, 6, 8, generator=draw)).requires_grad_()


@pytest.fixture
def masks_BHW() -> Tensor:
    draw = torch.Generator().manual_seed(1)
    masks_BHW = torch.randint(NUM_CLASSES, (2, 6, 8), generator=draw)
    masks_BHW[0, :2] = IGNORE
    return masks_BHW


def pixels(logits_BKHW: Tensor, masks_BHW: Tensor):
    """(probabilities as floats, class) of every labelled pixel."""
    for image, row, column in (masks_BHW != IGNORE).nonzero().tolist():
        probs_K = logits_BKHW[image, :, row, column].double().softmax(0).tolist()
        yield probs_K, int(masks_BHW[image, row, column])


def symmetric_by_hand(probs_K: list[float], label: int) -> float:
    """alpha * -sum q log p + beta * -sum p log q, with log 0 = -4."""
    forward = -math.log(probs_K[label])
    reverse = -sum(p * (0.0 if k == label else -4.0) for k, p in enumerate(probs_K))
    return ALPHA * forward + BETA * reverse


def loss_of(logits_BKHW: Tensor, masks_BHW: Tensor, weights_K: Tensor | None = None, **knobs):
    loss = build_labelled_loss(TrainParams(**knobs), weights_K)
    return loss(Fixed(logits_BKHW), torch.empty(0), masks_BHW)


def test_the_default_is_plain_cross_entropy() -> None:
    assert build_labelled_loss(TrainParams(), None) is labelled_loss


def test_symmetric_cross_entropy(logits_BKHW: Tensor, masks_BHW: Tensor) -> None:
    each = [symmetric_by_hand(*pixel) for pixel in pixels(logits_BKHW, masks_BHW)]
    loss = loss_of(logits_BKHW, masks_BHW, loss="symmetric_cross_entropy")
    assert loss.item() == pytest.approx(sum(each) / len(each), rel=1e-5)


def test_a_label_that_is_denied_pulls_less_and_less() -> None:
    """d RCE / d z_y = -4 p_y (1 - p_y): what makes the loss robust; CE pulls with 1 - p_y."""
    pulls = []
    for doubt in (0.0, 4.0, 8.0):
        logits_BKHW = torch.tensor([0.0, doubt]).reshape(1, 2, 1, 1).requires_grad_()
        symmetric_cross_entropy(
            logits_BKHW, torch.zeros(1, 1, 1, dtype=torch.long)
        ).sum().backward()
        assert logits_BKHW.grad is not None
        pulls.append(-logits_BKHW.grad[0, 0, 0, 0].item())
    assert pulls == sorted(pulls, reverse=True)
    assert pulls[2] == pytest.approx(ALPHA, abs=0.005)


def test_classes_weigh_what_they_are_given(logits_BKHW: Tensor, masks_BHW: Tensor) -> None:
    weights = [0.5, 1.0, 3.0]
    each = [-weights[y] * math.log(p[y]) for p, y in pixels(logits_BKHW, masks_BHW)]
    loss = loss_of(logits_BKHW, masks_BHW, torch.tensor(weights))
    assert loss.item() == pytest.approx(sum(each) / len(each), rel=1e-5)


@pytest.mark.parametrize("confident", [False, True])
def test_only_hard_pixels_teach(logits_BKHW: Tensor, masks_BHW: Tensor, confident: bool) -> None:
    logits_BKHW = logits_BKHW.detach()
    if confident:  # every pixel above .7: the k hardest are kept
        one_hot = torch.nn.functional.one_hot(masks_BHW.clamp(max=2), NUM_CLASSES)
        logits_BKHW = logits_BKHW / 8 + 9 * one_hot.movedim(-1, 1)
    true = [probs[label] for probs, label in pixels(logits_BKHW, masks_BHW)]
    num_kept = int(OHEM_MIN_KEPT * masks_BHW.numel())
    bound = max(0.7, sorted(true)[num_kept - 1])
    kept = [-math.log(p) for p in true if p <= bound]
    assert len(kept) == num_kept if confident else num_kept < len(kept) < len(true)
    assert loss_of(logits_BKHW, masks_BHW, ohem=True).item() == pytest.approx(
        sum(kept) / len(kept), rel=1e-4
    )


def test_a_scribble_stays_whole_however_easy(masks_BHW: Tensor) -> None:
    scribble_BHW = torch.full_like(masks_BHW, IGNORE)
    scribble_BHW[0, 3, :2] = 1
    easy_BKHW = torch.zeros(2, NUM_CLASSES, 6, 8)
    easy_BKHW[:, 1] = 9.0
    assert torch.equal(hard_pixels(easy_BKHW, scribble_BHW), scribble_BHW)


def test_an_auxiliary_head_learns_by_the_same_loss(logits_BKHW: Tensor, masks_BHW: Tensor) -> None:
    loss = build_labelled_loss(TrainParams(loss="symmetric_cross_entropy"), None)
    other_BKHW = logits_BKHW.flip(0)
    both = loss(Fixed(logits_BKHW, other_BKHW), torch.empty(0), masks_BHW)
    alone = [loss(Fixed(each), torch.empty(0), masks_BHW) for each in (logits_BKHW, other_BKHW)]
    assert both.item() == pytest.approx((alone[0] + AUXILIARY_WEIGHT * alone[1]).item())


ALL = [
    {"loss": loss, "ohem": ohem, "weights_K": weights}
    for loss in ("cross_entropy", "symmetric_cross_entropy")
    for ohem in (False, True)
    for weights in (None, torch.tensor([0.5, 1.0, 3.0]))
]


@pytest.mark.parametrize("knobs", ALL)
def test_nothing_labelled_teaches_nothing(logits_BKHW: Tensor, knobs) -> None:
    loss = loss_of(logits_BKHW, torch.full((2, 6, 8), IGNORE), **knobs)
    loss.backward()
    assert loss.item() == 0.0
    assert logits_BKHW.grad is not None
    assert not logits_BKHW.grad.any()


@pytest.mark.parametrize("knobs", ALL)
def test_only_labelled_pixels_pull(logits_BKHW: Tensor, masks_BHW: Tensor, knobs) -> None:
    loss_of(logits_BKHW, masks_BHW, **knobs).backward()
    assert logits_BKHW.grad is not None
    assert not logits_BKHW.grad[0, :, :2].any()
    assert logits_BKHW.grad[:, :, 2:].any()


@pytest.mark.parametrize("knobs", ALL)
def test_the_order_of_the_classes_does_not_matter(
    logits_BKHW: Tensor, masks_BHW: Tensor, knobs
) -> None:
    order = torch.tensor([2, 0, 1])  # new class k is old class order[k]
    place = order.argsort()
    renamed_BHW = torch.where(masks_BHW == IGNORE, IGNORE, place[masks_BHW.clamp(max=2)])
    weights_K = knobs["weights_K"]
    permuted = {**knobs, "weights_K": None if weights_K is None else weights_K[order]}
    one = loss_of(logits_BKHW, masks_BHW, **knobs)
    other = loss_of(logits_BKHW[:, order], renamed_BHW, **permuted)
    assert one.item() == pytest.approx(other.item(), rel=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "symmetric_cross_entropy"])
@pytest.mark.parametrize("ohem", [False, True])
@pytest.mark.parametrize("weighed", [False, True])
def test_of_an_image_with_a_labelled_region_only_that_teaches(
    logits_BKHW: Tensor, loss: str, ohem: bool, weighed: bool
) -> None:
    # Few labels among many pixels: the region is less than what OHEM keeps at least.
    masks_BHW = torch.full((2, 6, 8), IGNORE)
    masks_BHW[1, 2:4, 3:4] = torch.tensor([[0], [2]])
    params = TrainParams(loss=loss, ohem=ohem)  # type: ignore[arg-type]
    weights_K = torch.tensor([1.0, 2.0, 0.5]) if weighed else None
    labelled = build_labelled_loss(params, weights_K)
    labelled(Fixed(logits_BKHW, logits_BKHW), torch.zeros(2, 3, 6, 8), masks_BHW).backward()
    assert logits_BKHW.grad is not None
    known_BHW = masks_BHW != IGNORE
    gradients_BHWK = logits_BKHW.grad.movedim(1, -1)
    assert torch.count_nonzero(gradients_BHWK[~known_BHW]) == 0
    assert torch.count_nonzero(gradients_BHWK[known_BHW]) == 2 * NUM_CLASSES
    # What lies outside does not even weigh: the region alone gives the same.
    alone = logits_BKHW.detach()[1:, :, 2:4, 3:4].clone().requires_grad_()
    labelled(Fixed(alone, alone), torch.zeros(1, 3, 2, 1), masks_BHW[1:, 2:4, 3:4]).backward()
    assert alone.grad is not None
    torch.testing.assert_close(logits_BKHW.grad[1:, :, 2:4, 3:4], alone.grad)
