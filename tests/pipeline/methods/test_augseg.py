"""AugSeg's loss and its boxes against the paper's rule in plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.fidelity.comparisons import largest
from pipeline.config.params import MethodParams
from pipeline.methods.augseg import AugSeg, image_confidence, random_boxes
from pipeline.types import IGNORE
from tests.support.tiny_network import NUM_CLASSES, new_batch, tiny_setup

SIZE = (16, 16)
BATCH = 3


def new_method(threshold: float = 0.4, **knobs) -> AugSeg:
    setup = tiny_setup(
        MethodParams(confidence_threshold=threshold, rampup_share=0.0, **knobs), NUM_CLASSES
    )
    method = AugSeg(setup)
    torch.manual_seed(3)
    with torch.no_grad():  # a teacher unlike the student, sure of some pixels
        for p in method.teacher.network.parameters():
            p.add_(torch.randn_like(p) * 0.5)
    return method


def pixel(method, batch, boxes, place):
    """(colour, target probabilities) of one mixed pixel; None for a target that nobody knows."""
    own_BHW, labelled_BHW, doubtful_B, probs_BHWK = boxes
    b, y, x = place
    source = (b - 1) % BATCH if own_BHW[b, y, x] else b
    # Only what is given away carries labelled pixels.
    if source != b and doubtful_B[source] and labelled_BHW[source, y, x]:
        image = source % len(batch.images_BCHW)
        known = batch.masks_BHW[image, y, x].item()
        target = None if known == IGNORE else [float(k == known) for k in range(NUM_CLASSES)]
        return batch.images_BCHW[image, :, y, x], target
    unlabelled = batch.unlabelled
    target = probs_BHWK[source][y][x] if unlabelled.valid_BHW[source, y, x] else None
    return unlabelled.strong[0].images_BCHW[source, :, y, x], target


def loss_difference() -> float:
    """Of the loss and the reliable share, with the boxes that the method draws."""
    method, batch = new_method(), new_batch(1, size=SIZE)
    probs_BKHW = method.teacher.network(batch.unlabelled.weak_BCHW).softmax(1)
    certain_B = image_confidence(probs_BKHW, batch.unlabelled.valid_BHW)
    torch.manual_seed(8)
    doubtful_B = torch.rand(BATCH) >= certain_B
    labelled_BHW = random_boxes([8.0, 2.0], batch.unlabelled.valid_BHW)
    own_BHW = random_boxes([4.0, 4.0], batch.unlabelled.valid_BHW)
    boxes = (own_BHW, labelled_BHW, doubtful_B, probs_BKHW.movedim(1, -1).tolist())
    assert doubtful_B.any()
    places = [(b, y, x) for b in range(BATCH) for y in range(SIZE[0]) for x in range(SIZE[1])]
    mixed_BCHW, targets = torch.zeros(BATCH, 3, *SIZE), {}
    for place in places:
        colour, targets[place] = pixel(method, batch, boxes, place)
        mixed_BCHW[place[0], :, place[1], place[2]] = colour
    learnt_BKHW = method.student(mixed_BCHW).softmax(1).tolist()
    total, kept, num_valid = 0.0, 0, 0
    for b, y, x in places:
        target_K = targets[b, y, x]
        num_valid += target_K is not None
        if target_K is not None and max(target_K) >= 0.4:
            kept += 1
            total -= math.log(learnt_BKHW[b][target_K.index(max(target_K))][y][x])
    torch.manual_seed(8)
    losses = method(batch, 0)
    assert 0 < kept < num_valid
    found = torch.stack([losses.terms["consistency"], losses.logs["reliable_share"]])
    return largest(found, [total / num_valid, kept / num_valid])


def test_it_is_the_papers_formula() -> None:
    assert loss_difference() < 1e-5


def test_confidence_by_hand() -> None:
    probs_BKHW = torch.tensor([[[[0.5, 1.0, 0.9]], [[0.5, 0.0, 0.1]]]])
    valid_BHW = torch.tensor([[[True, True, False]]])
    # A pixel of two equal classes is worth 0, a certain one 1, a third one is padding.
    assert image_confidence(probs_BKHW, valid_BHW).tolist() == [0.5]
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(2)
    expected = pytest.approx(0.9 * (1 - entropy))
    assert image_confidence(probs_BKHW, ~valid_BHW).item() == expected
    assert image_confidence(probs_BKHW, torch.zeros_like(valid_BHW)).item() == 0.0


def test_confidence_does_not_care_which_class_is_which() -> None:
    probs_BKHW, valid_BHW = torch.rand(2, 4, 3, 3).softmax(1), torch.rand(2, 3, 3) < 0.7
    renamed = image_confidence(probs_BKHW[:, [2, 0, 3, 1]], valid_BHW)
    torch.testing.assert_close(renamed, image_confidence(probs_BKHW, valid_BHW))


@pytest.mark.parametrize(("shape", "area"), [([8.0, 2.0], 0.157), ([4.0, 4.0], 0.350)])
def test_boxes_have_the_area_of_the_authors_code(shape: list[float], area: float) -> None:
    """Means over 20,000 boxes drawn one by one by the same rule in plain Python."""
    torch.manual_seed(0)
    boxes_BHW = random_boxes(shape, torch.zeros(6000, 64, 96, dtype=torch.bool))
    assert boxes_BHW.float().mean().item() == pytest.approx(area, abs=0.01)
    ys, xs = boxes_BHW.any(2).sum(1), boxes_BHW.any(1).sum(1)
    assert torch.equal(ys * xs, boxes_BHW.sum((1, 2)))  # one rectangle, whole


def test_boxes_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a 16x24 image, lam .75: sides 8 and 12, centres (2, 23) and (15, 12)."""
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda *_: torch.full((2,), 0.75))
    asked: list[tuple[int, int]] = []
    centres = iter([torch.tensor([2, 15]), torch.tensor([23, 12])])

    def randint(low: int, high: int, _size: tuple[int]) -> torch.Tensor:
        asked.append((low, high))
        return next(centres)

    monkeypatch.setattr(torch, "randint", randint)
    first_HW, second_HW = random_boxes([4.0, 4.0], torch.zeros(2, 16, 24, dtype=torch.bool))
    assert asked == [(2, 16), (3, 24)]
    assert first_HW[0:6, 17:24].all()  # rows -2 to 5, columns 17 to 28
    assert first_HW.sum() == 6 * 7
    assert second_HW[11:16, 6:18].all()  # rows 11 to 18, columns 6 to 17
    assert second_HW.sum() == 5 * 12


def test_images_without_a_box_stay_as_they_are() -> None:
    method, batch = new_method(), new_batch(1, size=SIZE)
    (view,) = batch.unlabelled.strong
    view = view._replace(boxes_BHW=torch.zeros_like(view.boxes_BHW))
    batch = batch._replace(unlabelled=batch.unlabelled._replace(strong=(view,)))
    plain = new_method(mixes=["none"])
    expected = plain(batch, 0).terms["consistency"]
    assert torch.equal(method(batch, 0).terms["consistency"], expected)
