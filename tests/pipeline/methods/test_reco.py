"""ReCo's losses against the paper's formulas in plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmarks.fidelity.comparisons import largest
from pipeline.methods.reco import Options, key_odds, regional_contrast, weighted_cross_entropy
from pipeline.methods.shared.contrast import Seen
from pipeline.types import IGNORE
from tests.pipeline.methods.shared.test_contrast import cosine, nce

BATCH, NUM_CLASSES, DIMENSIONS, SIDE = 2, 4, 5, 6


def scene() -> tuple[Seen, Tensor]:
    """Logits, representations and labels of the same size; class 2 is not there."""
    torch.manual_seed(0)
    labels_BHW = torch.tensor([0, 1, 3, IGNORE])[torch.randint(4, (BATCH, SIDE, SIDE))]
    logits_BKHW = 3 * torch.randn(BATCH, NUM_CLASSES, SIDE, SIDE)
    representation_BDhw = torch.randn(BATCH, DIMENSIONS, SIDE, SIDE, requires_grad=True)
    return Seen(logits_BKHW, representation_BDhw), labels_BHW


def members(labels_BHW: Tensor, wanted: int) -> list[tuple[int, int, int]]:
    return [tuple(place) for place in (labels_BHW == wanted).nonzero().tolist()]


def mean(vectors: list[list[float]]) -> list[float]:
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


def contrast_difference() -> float:
    """Of the contrast, with the anchors and keys that the method draws."""
    seen, labels_BHW = scene()
    options = Options(num_anchors=3, num_negatives=7, hard_threshold=0.8)
    torch.manual_seed(4)
    found = regional_contrast(seen, labels_BHW, options)

    probs_BKHW = seen.logits_BKHW.softmax(1)
    pixels = {
        tuple(place): seen.representation_BDhw[place[0], :, place[1], place[2]].tolist()
        for place in torch.ones_like(labels_BHW).nonzero().tolist()
    }
    order = list(pixels)
    present = [0, 1, 3]
    means = {c: mean([pixels[place] for place in members(labels_BHW, c)]) for c in present}
    torch.manual_seed(4)
    total = 0.0
    for c in present:
        hard = [(b, y, x) for b, y, x in members(labels_BHW, c) if probs_BKHW[b, c, y, x] < 0.8]
        assert 0 < len(hard) < len(members(labels_BHW, c))
        anchors = [pixels[hard[i]] for i in torch.randint(len(hard), (3,)).tolist()]
        weights = {j: math.exp(cosine(means[c], means[j]) / 0.5) for j in present if j != c}
        odds = torch.zeros(len(order))
        for j, weight in weights.items():
            for place in members(labels_BHW, j):
                share = weight / sum(weights.values())
                odds[order.index(place)] = share / len(members(labels_BHW, j))
        chosen = odds.multinomial(21, replacement=True).view(3, 7).tolist()
        for anchor, keys in zip(anchors, chosen, strict=True):
            negatives = [pixels[order[key]] for key in keys]
            total += nce(anchor, means[c], negatives, 0.5) / 3
    return largest(found, total / 3)


def test_contrast_is_the_papers_formula() -> None:
    assert contrast_difference() < 1e-5


def test_odds_sum_to_1_and_leave_the_own_class_out() -> None:
    labels_N = torch.tensor([0, 0, 1, 2, 2, 2, IGNORE])
    means_PD = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    odds_N = key_odds(labels_N, [0, 1, 2], means_PD, 0, 0.5)
    like = math.exp(1 / 0.5) / (math.exp(1 / 0.5) + 1)
    expected = [0, 0, like, *[(1 - like) / 3] * 3, 0]
    assert odds_N.tolist() == pytest.approx(expected)


def test_contrast_does_not_care_which_class_is_which() -> None:
    # One pixel of each of two classes: whatever is drawn is the same.
    torch.manual_seed(0)
    logits, representation = torch.randn(1, 2, 1, 2), torch.randn(1, 5, 1, 2)
    labels_BHW = torch.tensor([[[0, 1]]])
    one = regional_contrast(Seen(logits, representation), labels_BHW, Options(hard_threshold=1.0))
    renamed = Seen(logits.flip(1), representation)
    other = regional_contrast(renamed, 1 - labels_BHW, Options(hard_threshold=1.0))
    torch.testing.assert_close(one, other)
    assert one > 0


def test_keys_have_no_gradient() -> None:
    seen, labels_BHW = scene()
    labels_BHW[1] = 3  # image 1 has no anchors: it is easy
    seen.logits_BKHW[1] = 0
    seen.logits_BKHW[1, 3] = 50
    regional_contrast(seen, labels_BHW, Options()).backward()
    gradient = seen.representation_BDhw.grad
    assert gradient[0].any()
    assert not gradient[1].any()


@pytest.mark.parametrize("label", [IGNORE, 1])
def test_fewer_than_two_classes_teach_exactly_nothing(label: int) -> None:
    seen, labels_BHW = scene()
    loss = regional_contrast(seen, torch.full_like(labels_BHW, label), Options())
    loss.backward()
    assert loss.item() == 0.0
    assert not seen.representation_BDhw.grad.any()


def weighted_difference() -> float:
    """Of the cross-entropy, weighed by the reliable share of each image."""
    torch.manual_seed(0)
    logits_BKHW, pseudo_BHW = torch.randn(3, 4, 5, 5), torch.randint(4, (3, 5, 5))
    reliable_BHW, valid_BHW = torch.rand(3, 5, 5) < 0.6, torch.rand(3, 5, 5) < 0.7
    valid_BHW[2] = False
    probs = logits_BKHW.softmax(1).tolist()
    total, num_valid = 0.0, 0
    for b in range(3):
        places = [(y, x) for y in range(5) for x in range(5) if valid_BHW[b, y, x]]
        num_reliable = sum(bool(reliable_BHW[b, y, x]) for y, x in places)
        for y, x in places:
            num_valid += 1
            weight = num_reliable / len(places)
            total -= weight * math.log(probs[b][pseudo_BHW[b, y, x]][y][x])
    found = weighted_cross_entropy(logits_BKHW, pseudo_BHW, reliable_BHW, valid_BHW)
    return largest(found, total / num_valid)


def test_weighted_cross_entropy_is_the_papers_formula() -> None:
    assert weighted_difference() < 1e-5
