"""PrevMatch (Shin et al. 2024): students of earlier steps, in a drawn mixture, label once more.

B images, C channels, K classes, H height, W width, M networks of a mixture.
"""

from __future__ import annotations

from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.params import Share
from pipeline.methods.shared.ema_teacher import Teacher
from pipeline.methods.shared.protocol import MethodSetup, Unlabelled
from pipeline.methods.unimatch_v1 import Options as UniMatchOptions
from pipeline.methods.unimatch_v1 import Streams, UniMatchV1, labelled_by


class Options(UniMatchOptions):
    """method.options of prevmatch."""

    num_previous: Annotated[int, Field(ge=1)] = 8
    """N: earlier students that are kept; each costs a network's memory, in checkpoints too."""
    num_mixed: Annotated[int, Field(ge=1)] = 3
    """K: 1 to as many of them label at a step."""
    keep_every_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    """The student is kept after every such share of the steps."""
    previous_threshold: Share = 0.9
    """tau of what earlier students say."""


class PrevMatch(UniMatchV1):
    """L = CE(student(x), y) + lambda(t) (L_standard + g(t) L_previous), both as in UniMatch V1.

    L_standard learns from the student's labels of the weak view, L_previous, on the same logits,
    from those of softmax(sum_i w_i student_(t_i)(u)): 1 to K earlier students drawn from the last
    N, w drawn from Dirichlet(1). g(t) rises from 0 to 1 at half of the training, and falls to 0.
    """

    options_type = Options
    options: Options
    num_kept: Tensor

    def __init__(self, setup: MethodSetup) -> None:
        """No earlier student yet."""
        super().__init__(setup)
        self.previous = nn.ModuleList(
            Teacher(self.student, decay=0.0) for _ in range(self.options.num_previous)
        )
        self.register_buffer("num_kept", torch.zeros((), dtype=torch.int64))

    def more_terms(self, streams: Streams, unlabelled: Unlabelled, step: int) -> dict[str, Tensor]:
        """`previous` and `previous_features`; 0 until a student is kept."""
        available = min(int(self.num_kept), len(self.previous))
        if not available:
            nothing = streams.perturbed_BKHW.sum() * 0.0
            return {"previous": nothing, "previous_features": nothing}
        logits_BKHW = self._mixture(unlabelled.weak_BCHW, available)
        labels = labelled_by(logits_BKHW, self.options.previous_threshold)
        found = self.stream_losses(streams, labels, unlabelled.valid_BHW)
        weight = guidance(step, self.setup.num_steps)
        return {
            "previous": weight * found["consistency"],
            "previous_features": weight * found["feature_consistency"],
        }

    @torch.no_grad()
    def _mixture(self, weak_BCHW: Tensor, available: int) -> Tensor:
        """sum_i w_i logits_BKHW of 1 to K of the kept students, without repetition."""
        most = int(torch.randint(1, self.options.num_mixed + 1, ()))
        chosen_M = torch.randperm(available)[:most]
        weights_M = torch.distributions.Dirichlet(torch.ones(len(chosen_M))).sample()
        pairs = zip(chosen_M.tolist(), weights_M.tolist(), strict=True)
        logits = [weight * self.previous[place](weak_BCHW) for place, weight in pairs]
        return torch.stack(logits).sum(dim=0)

    def after_step(self, step: int) -> None:
        """Now and then the student is kept, in place of the oldest where N are there."""
        every = max(1, round(self.options.keep_every_share * self.setup.num_steps))
        if (step + 1) % every == 0:
            place = int(self.num_kept) % len(self.previous)
            cast(Teacher, self.previous[place]).restart(self.student)
            self.num_kept += 1

    def restart(self) -> None:
        """As above, and what was kept is forgotten: it may have collapsed as well."""
        super().restart()
        self.num_kept.zero_()


def guidance(step: int, num_steps: int) -> float:
    """g(t): a triangle from 0 at the start over 1 at half of the steps to 0 at the end."""
    half = num_steps / 2
    return 1.0 - abs(step - half) / half
