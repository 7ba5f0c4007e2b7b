"""Uncertainty-Aware Mean Teacher (UA-MT, Yu et al. 2019): learn where the teacher is sure.

B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

import math
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pipeline.config.block import Block
from pipeline.methods.shared.base import Pair, TeacherStudent
from pipeline.methods.shared.dropout_switch import has_dropout, with_dropout
from pipeline.methods.shared.ema_teacher import Teacher
from pipeline.methods.shared.losses import likeliest, probs_distance, ramp_up, share
from pipeline.methods.shared.protocol import Batch, Losses, MethodSetup, Network, Unlabelled
from pipeline.metrics.information import entropy_nats

NOISE_CLIP = 2.0  # standard deviations


class Options(Block):
    """How the teacher's uncertainty is measured."""

    num_passes: Annotated[int, Field(ge=1, le=64)] = 8
    """Noisy passes of the teacher (T)."""
    noise: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Standard deviation of the noise on the teacher's normalised images; clipped at twice that."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the channels of the deepest feature map that each pass drops where the network has
    no dropout of its own."""
    limit_start: Annotated[float, Field(ge=0, le=1)] = 0.75
    """Share of the largest entropy below which a pixel is certain; rises to 1 over the training."""


class UncertaintyAwareMeanTeacher(TeacherStudent):
    """L = CE(student(x), y) + lambda(t) mean over [U < limit(t)] of (softmax difference)^2.

    U: entropy of the mean of noisy teacher passes; limit(t) = (.75 + .25 ramp(t)) ln K. Passes
    drop out what the network's own dropout does, or channels of its deepest map if it has none.
    """

    options_type = Options
    options: Options

    def __init__(self, setup: MethodSetup) -> None:
        """Looks whether there is dropout."""
        super().__init__(setup)
        self.given_dropout = 0.0 if has_dropout(self.student) else self.options.dropout

    def learn(self, pair: Pair, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The term `consistency`; reliable_share, the part that is certain."""
        probs_BKHW = pair.teacher(unlabelled.weak_BCHW).softmax(dim=1)
        certain_BHW = self._uncertainty(pair.teacher, unlabelled.weak_BCHW) < self._limit(step)
        mix = self.mix(unlabelled, likeliest(probs_BKHW))
        target_BKHW, certain_BHW = mix.moved(probs_BKHW), mix.moved(certain_BHW)
        valid_BHW = mix.valid(unlabelled.valid_BHW)
        images_BCHW = mix.images(unlabelled.strong[0].images_BCHW)
        learnt_BKHW = self.perturbed(pair.student, images_BCHW, target_BKHW).softmax(dim=1)
        distance = probs_distance(learnt_BKHW, target_BKHW, certain_BHW & valid_BHW)
        return Losses({"consistency": distance}, {"reliable_share": share(certain_BHW, valid_BHW)})

    def _limit(self, step: int) -> float:
        start = self.options.limit_start
        share_of_largest = start + (1 - start) * ramp_up(step, self.setup.num_steps)
        return share_of_largest * math.log(self.setup.num_classes)

    def _uncertainty(self, teacher: Teacher, images_BCHW: Tensor) -> Tensor:
        """Entropy_BHW of the mean probabilities over the passes, in nats."""
        total_BKHW = torch.zeros((), device=images_BCHW.device)
        with with_dropout(teacher):
            for _ in range(self.options.num_passes):
                noise = torch.randn_like(images_BCHW).clamp_(-NOISE_CLIP, NOISE_CLIP)
                noisy_BCHW = images_BCHW + self.options.noise * noise
                total_BKHW = total_BKHW + self._pass(teacher, noisy_BCHW).softmax(dim=1)
        return entropy_nats(total_BKHW / self.options.num_passes, dim=1)

    @torch.no_grad()
    def _pass(self, teacher: Teacher, images_BCHW: Tensor) -> Tensor:
        if not self.given_dropout:
            return teacher(images_BCHW)
        network = cast(Network, teacher.network)
        *shallow, deepest_BDhw = network.encode(images_BCHW)
        return network.decode([*shallow, F.dropout2d(deepest_BDhw, self.given_dropout)])
