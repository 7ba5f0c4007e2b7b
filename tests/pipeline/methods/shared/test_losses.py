"""Losses against numbers worked out by hand and against naive loops."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.methods.shared.losses import (
    cross_entropy,
    probs_distance,
    ramp_up,
    reliable_cross_entropy,
    share,
)
from pipeline.types import IGNORE


def two_pixels() -> torch.Tensor:
    """Probabilities (.8, .2) and (.25, .75) as logits_BKHW of 1x2x1x2."""
    probs_KHW = torch.tensor([[[0.8, 0.25]], [[0.2, 0.75]]])
    return probs_KHW.log()[None]


def test_cross_entropy_by_hand() -> None:
    masks_BHW = torch.tensor([[[0, 0]]])
    expected = -(math.log(0.8) + math.log(0.25)) / 2
    assert cross_entropy(two_pixels(), masks_BHW).item() == pytest.approx(expected)


def test_cross_entropy_divides_by_the_valid_pixels() -> None:
    masks_BHW = torch.tensor([[[0, IGNORE]]])
    assert cross_entropy(two_pixels(), masks_BHW).item() == pytest.approx(-math.log(0.8))


def test_cross_entropy_does_not_care_which_class_is_which() -> None:
    logits_BKHW, masks_BHW = torch.rand(2, 5, 4, 6), torch.randint(5, (2, 4, 6))
    order = torch.tensor([3, 0, 4, 1, 2])
    renamed = cross_entropy(logits_BKHW[:, order], order.argsort()[masks_BHW])
    torch.testing.assert_close(renamed, cross_entropy(logits_BKHW, masks_BHW))


def test_reliable_cross_entropy_divides_by_all_valid_pixels() -> None:
    everything = torch.ones(1, 1, 2, dtype=torch.bool)
    reliable_BHW = torch.tensor([[[True, False]]])
    pseudo_BHW = torch.tensor([[[0, 1]]])
    loss = reliable_cross_entropy(two_pixels(), pseudo_BHW, reliable_BHW, everything)
    assert loss.item() == pytest.approx(-math.log(0.8) / 2)
    # Padding counts neither above nor below the line.
    loss = reliable_cross_entropy(two_pixels(), pseudo_BHW, everything, reliable_BHW)
    assert loss.item() == pytest.approx(-math.log(0.8))


def test_reliable_cross_entropy_takes_weights() -> None:
    everything = torch.ones(1, 1, 2, dtype=torch.bool)
    weights_BHW, pseudo_BHW = torch.tensor([[[0.5, 3.0]]]), torch.tensor([[[0, 1]]])
    loss = reliable_cross_entropy(two_pixels(), pseudo_BHW, weights_BHW, everything)
    assert loss.item() == pytest.approx(-(0.5 * math.log(0.8) + 3.0 * math.log(0.75)) / 2)


def test_no_reliable_pixel_gives_exactly_no_gradient() -> None:
    logits_BKHW = torch.rand(1, 3, 4, 4, requires_grad=True)
    nothing, everything = torch.zeros(1, 4, 4) > 0, torch.ones(1, 4, 4) > 0
    pseudo_BHW = torch.randint(3, (1, 4, 4))
    reliable_cross_entropy(logits_BKHW, pseudo_BHW, nothing, everything).backward()
    assert logits_BKHW.grad is not None
    assert not logits_BKHW.grad.any()


def test_probs_distance_by_hand() -> None:
    probs_BKHW = two_pixels().exp()
    target_BKHW = torch.tensor([[[[0.5, 0.25]], [[0.5, 0.75]]]])
    everything = torch.ones(1, 1, 2) > 0
    # First pixel: (.3^2 + .3^2) / 2 classes = .09; second: 0.
    assert probs_distance(probs_BKHW, target_BKHW, everything).item() == pytest.approx(0.045)
    first = torch.tensor([[[True, False]]])
    assert probs_distance(probs_BKHW, target_BKHW, first).item() == pytest.approx(0.09)


def test_share_of_nothing_is_0() -> None:
    nothing, everything = torch.zeros(3) > 0, torch.ones(3) > 0
    assert share(everything, nothing).item() == 0.0
    assert share(torch.tensor([True, False, True]), everything).item() == pytest.approx(2 / 3)


def test_ramp() -> None:
    assert ramp_up(0, 10) == pytest.approx(math.exp(-5))
    assert ramp_up(5, 10) == pytest.approx(math.exp(-1.25))
    assert ramp_up(10, 10) == ramp_up(99, 10) == ramp_up(0, 0) == 1.0
