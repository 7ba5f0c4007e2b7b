"""Thresholds and weights that follow the teacher, beside plain loops over its pixels."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from benchmarks.fidelity import plain_thresholds as plain
from benchmarks.fidelity.comparisons import Comparison, largest
from benchmarks.fidelity.plain_pixels import pixel
from pipeline.config.params import MethodParams
from pipeline.methods import METHODS, Unlabelled
from pipeline.methods.fixmatch import PixelPrediction
from pipeline.methods.freematch import FreeMatch
from pipeline.methods.shared.class_thresholds import AdaptiveFixMatch
from tests.support.tiny_network import TinySet, tiny_setup

NUM_CLASSES, NUM_IMAGES, NUM_STEPS, TAU, DECAY = 4, 5, 6, 0.6, 0.7
SHAPE = (2, NUM_CLASSES, 4, 5)  # images of a step, classes, height, width


class Step(NamedTuple):
    """What the teacher says of the images of one step."""

    predicted: PixelPrediction
    seen: Unlabelled

    def pixels(self, image: int) -> plain.Pixels:
        """The valid ones of an image."""
        places = self.seen.valid_BHW[image].nonzero().tolist()
        return [pixel(self.predicted.probs_BKHW, image, y, x) for y, x in places]

    def all_pixels(self) -> plain.Pixels:
        """Of all its images."""
        return [each for image in range(len(self.seen.index_B)) for each in self.pixels(image)]


def teacher_steps() -> list[Step]:
    """Classes of unequal areas and confidences; images come again; one step is all padding."""
    draw = torch.Generator().manual_seed(0)
    bias_K11 = torch.tensor([2.0, 1.0, 0.0, -1.0])[:, None, None]
    found = []
    for step in range(NUM_STEPS):
        probs_BKHW = (2 * torch.randn(SHAPE, generator=draw) + bias_K11).softmax(dim=1)
        valid_BHW = torch.rand(2, *SHAPE[2:], generator=draw) < (0.8 if step != 3 else 0.0)
        index_B = torch.tensor([step % 4, (step + 1) % 4])  # the last image never comes
        seen = Unlabelled(index_B, torch.zeros(0), valid_BHW, ())
        found.append(Step(PixelPrediction(probs_BKHW, *probs_BKHW.max(dim=1)), seen))
    return found


def new_method(name: str, **options: Any) -> AdaptiveFixMatch:
    """With five unlabelled images."""
    params = MethodParams(name=name, confidence_threshold=TAU, options=options)
    setup = tiny_setup(params, NUM_CLASSES, unlabelled=TinySet(NUM_IMAGES))
    return cast(AdaptiveFixMatch, METHODS[name](setup))


def weigh_all(method: AdaptiveFixMatch) -> list[Tensor]:
    """weights_BHW of every step."""
    return [method.pixel_weights(step.predicted, step.seen) for step in teacher_steps()]


def _kept(step: Step, thresholds: list[float]) -> list[float]:
    probs_BKHW = step.predicted.probs_BKHW
    every = torch.ones_like(step.seen.valid_BHW).nonzero().tolist()
    pixels = [pixel(probs_BKHW, *place) for place in every]
    return [float(max(p) >= thresholds[p.index(max(p))]) for p in pixels]


def _freematch() -> float:
    method, steps = new_method("freematch", decay=DECAY), teacher_steps()
    worst = 0.0
    for number, weights_BHW in enumerate(weigh_all(method), start=1):
        history = [step.all_pixels() for step in steps[:number]]
        means = plain.freematch_means(history, NUM_CLASSES, DECAY)
        thresholds = plain.freematch_thresholds(means)
        worst = max(worst, largest(weights_BHW.float(), _kept(steps[number - 1], thresholds)))
    return max(worst, largest(method.thresholds_K(), thresholds))


def _fairness() -> float:
    method, steps = cast(FreeMatch, new_method("freematch", decay=DECAY)), teacher_steps()
    weigh_all(method)
    means = plain.freematch_means([step.all_pixels() for step in steps], NUM_CLASSES, DECAY)
    learnt = steps[0]  # as if the student had said it
    found = method.fairness(learnt.predicted.probs_BKHW, learnt.seen.valid_BHW)
    return largest(found, plain.freematch_fairness(means, learnt.all_pixels()))


def _flexmatch() -> float:
    method, steps = new_method("flexmatch"), teacher_steps()
    last: dict[int, plain.Pixels] = {}
    worst = 0.0
    for step, weights_BHW in zip(steps, weigh_all(method), strict=True):
        before = plain.flexmatch_thresholds([*last.values()], NUM_IMAGES, NUM_CLASSES, TAU)
        worst = max(worst, largest(weights_BHW.float(), _kept(step, before)))
        for place, index in enumerate(step.seen.index_B.tolist()):
            if pixels := step.pixels(place):
                last[index] = pixels
    after = plain.flexmatch_thresholds([*last.values()], NUM_IMAGES, NUM_CLASSES, TAU)
    return max(worst, largest(method.thresholds_K(), after))


def _softmatch(per_class: bool) -> float:
    method = new_method("softmatch", decay=DECAY, floor=0.1, per_class=per_class)
    weights_BHW, steps = weigh_all(method)[-1], teacher_steps()
    weigh = plain.softmatch_weights_per_class if per_class else plain.softmatch_weights
    history = [step.all_pixels() for step in steps]
    expected = weigh(history, history[-1], (0.1, TAU), DECAY)
    return largest(weights_BHW[steps[-1].seen.valid_BHW], expected)


THRESHOLDS_COMPARED: list[Comparison] = [
    Comparison("freematch", "thresholds and kept pixels over 6 steps", _freematch),
    Comparison("freematch", "fairness of the student's kept pixels", _fairness),
    Comparison("flexmatch", "thresholds and kept pixels over 6 steps", _flexmatch),
    Comparison("softmatch", "weights after 6 steps", partial(_softmatch, False)),
    Comparison("softmatch", "the same, of each class apart", partial(_softmatch, True)),
]
