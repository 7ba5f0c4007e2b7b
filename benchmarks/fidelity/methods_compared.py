"""Methods beside plain loops, each of which stands once: here, or in the method's tests."""

from __future__ import annotations

import math
from functools import partial
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
from pipeline.methods.shared.ema_teacher import Teacher
from pipeline.methods.shared.losses import ramp_up
from pipeline.training.supervised_loss import symmetric_cross_entropy
from pipeline.training.trainer import learning_rate_share
from tests.pipeline.methods import (
    test_augseg,
    test_cct,
    test_cps,
    test_cutmix_seg,
    test_mean_teacher,
    test_reco,
    test_u2pl,
    test_ua_mt,
    test_unimatch,
)
from tests.pipeline.methods.shared import test_adversarial, test_self_training
from tests.support.tiny_network import estrange, tiny_network, tiny_setup, unlabelled_batch

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


def _teacher() -> float:
    """Weights and statistics of 30 updates, number by number."""
    student = tiny_network()
    teacher = Teacher(student, decay=0.9)
    plain_of = {name: value.flatten().tolist() for name, value in student.state_dict().items()}
    torch.manual_seed(0)
    for step in range(30):
        with torch.no_grad():
            for value in student.state_dict().values():
                if value.is_floating_point():
                    value.add_(0.1 * torch.randn_like(value))
        teacher.update(student, step)
        keep = min(1 - 1 / (step + 1), 0.9)
        for name, value in student.state_dict().items():
            pairs = zip(plain_of[name], value.flatten().tolist(), strict=True)
            plain_of[name] = [keep * own + (1 - keep) * new for own, new in pairs]
    averaged = teacher.network.state_dict()
    floats = [name for name, value in averaged.items() if value.is_floating_point()]
    return max(largest(averaged[name], plain_of[name]) for name in floats)


def _learning_rate() -> float:
    shares = [learning_rate_share(step, 50, warmup_share=0.0) for step in range(50)]
    return max(largest(s, (1 - step / 50) ** 0.9) for step, s in enumerate(shares))


def _symmetric() -> float:
    """.1 CE + RCE of a one-hot label whose log 0 is -4."""
    torch.manual_seed(0)
    logits_BKHW, masks_BHW = torch.randn(2, 5, 4, 5), torch.randint(5, (2, 4, 5))
    expected = []
    for b, y, x in torch.ones_like(masks_BHW).nonzero().tolist():
        probs_K = plain.softmax(plain.pixel(logits_BKHW, b, y, x))
        label = int(masks_BHW[b, y, x])
        reverse = sum(4 * p for k, p in enumerate(probs_K) if k != label)
        expected.append(-0.1 * math.log(probs_K[label]) + reverse)
    return largest(symmetric_cross_entropy(logits_BKHW, masks_BHW), expected)


METHODS_COMPARED: list[Comparison] = [
    Comparison("rampup_share", "lambda(t) at 9 steps", _ramp),
    Comparison("train.learning_rate", "(1 - t/T)^.9, no warm-up", _learning_rate),
    Comparison("train.loss", "symmetric cross-entropy of 40 pixels", _symmetric),
    Comparison("ema_decay", "the teacher's weights and statistics after 30 steps", _teacher),
    Comparison("mean_teacher", "loss", test_mean_teacher.loss_difference),
    Comparison("ua_mt", "loss, certain share", partial(test_ua_mt.loss_difference, 10, 0.0)),
    Comparison("ua_mt", "the same with dropout", partial(test_ua_mt.loss_difference, 4, 0.3)),
    Comparison(
        "cutmix_seg", "loss, confidence rate", partial(test_cutmix_seg.loss_difference, False)
    ),
    Comparison("cutmix_seg", "per pixel", partial(test_cutmix_seg.loss_difference, True)),
    Comparison("cct", "loss over decoders, perturbations given", test_cct.loss_difference),
    Comparison("fixmatch", "loss of the unlabelled images after CutMix", _fixmatch),
    *THRESHOLDS_COMPARED,
    Comparison("soft_teacher", "weights, loss and what it is divided by", _soft_teacher),
    Comparison(
        "st_plus_plus", "agreement of two labellings", test_self_training.mean_iou_difference
    ),
    Comparison(
        "st_plus_plus",
        "who labels in the third phase, after a resume",
        test_self_training.third_phase_difference,
    ),
    Comparison("cbst", "thresholds of the classes", partial(test_self_training.cbst_difference, 1)),
    Comparison("cps", "loss with CutMix, agreement", test_cps.mixed_difference),
    Comparison("cps", "loss without mixing, both kinds of images", test_cps.unmixed_difference),
    Comparison("adv_semi_seg", "all terms", partial(test_adversarial.adv_semi_seg_difference, 3)),
    Comparison("s4gan", "all terms, without dropout", test_adversarial.s4gan_difference),
    Comparison("reco", "contrast, given draws", test_reco.contrast_difference),
    Comparison("reco", "weighted cross-entropy", test_reco.weighted_difference),
    Comparison("u2pl", "loss of reliable pixels", test_u2pl.consistency_difference),
    Comparison("u2pl", "contrast, given draws", test_u2pl.contrast_difference),
    Comparison("unimatch_v1", "both terms, given dropout", test_unimatch.v1_difference),
    Comparison("unimatch_v2", "loss, given dropout", test_unimatch.v2_difference),
    Comparison("augseg", "loss, given boxes; reliable share", test_augseg.loss_difference),
    *MIXES_COMPARED,
]
