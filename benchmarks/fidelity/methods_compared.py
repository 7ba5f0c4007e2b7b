"""Methods, mixes and adaptation beside plain loops."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from benchmarks.fidelity import plain_pixels as plain
from benchmarks.fidelity.comparisons import Comparison, largest
from benchmarks.fidelity.mixes_compared import MIXES_COMPARED
from benchmarks.fidelity.thresholds_compared import THRESHOLDS_COMPARED
from pipeline.config.params import MethodParams
from pipeline.methods import METHODS, Batch, Unlabelled
from pipeline.methods.shared.base import TeacherStudent
from pipeline.methods.shared.losses import ramp_up
from tests.support.tiny_network import estrange, tiny_setup, unlabelled_batch

NUM_CLASSES, SIZE = 4, (5, 6)


class Rig(NamedTuple):
    """A method with a teacher that differs from its student, and what both say of one batch."""

    method: TeacherStudent
    batch: Batch
    seen: Unlabelled
    target_BKHW: Tensor
    """The teacher's logits of the weak views."""
    logits_BKHW: Tensor
    """The student's of the mixed strong ones."""


def rig(name: str, **knobs: Any) -> Rig:
    """Networks of one convolution, three images; the same at every call."""
    torch.manual_seed(0)
    params = MethodParams(name=name, rampup_share=0.0, **knobs)
    method = cast(TeacherStudent, METHODS[name](tiny_setup(params, NUM_CLASSES)))
    torch.manual_seed(3)
    estrange(method.teacher)
    batch = unlabelled_batch(3, *SIZE)
    seen = cast(Unlabelled, batch.unlabelled)
    mixed_BCHW = plain.cutmix(seen.strong[0])
    return Rig(
        method, batch, seen, method.teacher(seen.weak_BCHW), method.student(mixed_BCHW).detach()
    )


def _ramp() -> float:
    steps = range(0, 41, 5)
    expected = [math.exp(-5 * (1 - min(step / 30, 1)) ** 2) for step in steps]
    return max(largest(ramp_up(s, 30), p) for s, p in zip(steps, expected, strict=True))


def _fixmatch() -> float:
    found = rig("fixmatch", confidence_threshold=0.6)
    loss = plain.weighed_loss(found.seen, found.target_BKHW, found.logits_BKHW, plain.above(0.6))
    return largest(found.method(found.batch, 0).terms["consistency"], loss.total / loss.num_valid)


def _soft_teacher() -> float:
    found = rig("soft_teacher", options={"background": 2, "foreground_threshold": 0.6})
    weigh = plain.soft_teacher(background=2, threshold=0.6)
    loss = plain.weighed_loss(found.seen, found.target_BKHW, found.logits_BKHW, weigh)
    expected = loss.total / max(loss.weight, 1.0)
    return largest(found.method(found.batch, 0).terms["consistency"], expected)


METHODS_COMPARED: list[Comparison] = [
    Comparison("rampup_share", "lambda(t) at 9 steps", _ramp),
    Comparison("fixmatch", "loss of the unlabelled images after CutMix", _fixmatch),
    Comparison("soft_teacher", "weights, loss and what it is divided by", _soft_teacher),
    *THRESHOLDS_COMPARED,
    *MIXES_COMPARED,
]
