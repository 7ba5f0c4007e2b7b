"""Mean Teacher's consistency against its formula."""

from __future__ import annotations

import torch

from benchmarks.fidelity.comparisons import largest
from pipeline.config.params import MethodParams
from pipeline.methods import Batch, StrongView, Unlabelled
from pipeline.methods.mean_teacher import MeanTeacher
from pipeline.types import IGNORE
from tests.support.tiny_network import tiny_setup


def loss_difference() -> float:
    torch.manual_seed(0)
    setup = tiny_setup(
        MethodParams(name="mean_teacher", consistency_weight=10.0, rampup_share=0.0), 3
    )
    method = MeanTeacher(setup)
    with torch.no_grad():
        for p in method.teacher.network.parameters():
            p.add_(torch.randn_like(p))
    valid_BHW = torch.rand(2, 4, 5) < 0.7
    nothing_BHW = torch.zeros(2, 4, 5, dtype=torch.bool)
    view = StrongView(torch.rand(2, 3, 4, 5), nothing_BHW)
    unlabelled = Unlabelled(torch.arange(2), torch.rand(2, 3, 4, 5), valid_BHW, (view,))
    batch = Batch(torch.rand(2, 3, 4, 5), torch.full((2, 4, 5), IGNORE), unlabelled)
    target = method.teacher.network(unlabelled.weak_BCHW).softmax(1)
    probs = method.student(view.images_BCHW).softmax(1)
    squares = [
        (probs[b, k, y, x] - target[b, k, y, x]).item() ** 2
        for b in range(2)
        for y in range(4)
        for x in range(5)
        for k in range(3)
        if valid_BHW[b, y, x]
    ]
    return largest(method(batch, 0).terms["consistency"], 10.0 * sum(squares) / len(squares))


def test_it_is_the_mean_square_of_the_softmaxes_over_valid_pixels_and_classes() -> None:
    assert loss_difference() < 1e-5
