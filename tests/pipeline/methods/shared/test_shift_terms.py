"""What a shift adds to a method's loss weighs by itself, whatever the method's own weight is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.config.params import MethodParams
from pipeline.methods import MethodSetup, build_method
from pipeline.methods.shared.losses import labelled_loss, ramp_up
from tests.support.tiny_network import NUM_CLASSES, TinySet, new_batch, tiny_network

NUM_STEPS, RISE = 10, 0.5


class _Two:
    """A term that is always 2."""

    def loss(self, *_: object) -> Tensor:
        return torch.tensor(2.0)


def terms(weight: float, step: int, *, restarted: bool = False) -> dict[str, float]:
    params = MethodParams(name="mean_teacher", consistency_weight=weight, rampup_share=RISE)
    setup = MethodSetup(
        params=params,
        num_classes=NUM_CLASSES,
        num_steps=NUM_STEPS,
        new_network=tiny_network,
        labelled_loss=labelled_loss,
        unlabelled=TinySet(6),
        cross_domain=_Two(),
        masked=_Two(),
    )
    method = build_method("mean_teacher", setup)
    if restarted:
        method.restart()
    found = method(new_batch(method.num_strong_views, 0), step).terms
    return {name: float(term.detach()) for name, term in found.items()}


@pytest.mark.parametrize("step", [0, 3, 9])
def test_the_methods_weight_is_not_that_of_the_shift(step: int) -> None:
    one, hundred = terms(1.0, step), terms(100.0, step)
    assert hundred["consistency"] == pytest.approx(100 * one["consistency"], rel=1e-5)
    for name in ("cross_domain", "masked"):
        assert one[name] == hundred[name] == pytest.approx(2 * ramp_up(step, RISE * NUM_STEPS))


def test_the_guard_halves_it_too() -> None:
    assert terms(100.0, 9, restarted=True)["masked"] == 1.0


def test_without_weight_labels_teach_alone() -> None:
    assert list(terms(0.0, 9)) == ["supervised"]
