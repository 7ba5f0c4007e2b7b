"""What adversarial methods share: a discriminator that is trained in the student's own step.

B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.block import Block
from pipeline.errors import ConfigError
from pipeline.methods.shared.base import SemiSupervised
from pipeline.methods.shared.protocol import MethodSetup
from pipeline.types import IGNORE

LEAK = 0.2  # of the rectifiers in both papers, as in DCGAN


class AdversaryOptions(Block):
    """What every adversarial method may be told."""

    discriminator_learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Falls with the student's."""
    discriminator_channels: Annotated[int, Field(ge=1)] = 64
    """Of its first layer; every further one doubles them, up to the fourth."""


class Adversarial(SemiSupervised):
    """A student that is to make maps which a discriminator takes for masks; it is kept.

    The student sees the weak view. The discriminator's own term is not weighed by lambda(t).
    """

    unweighted = ("discriminator",)
    options_type = AdversaryOptions
    options: AdversaryOptions

    def __init__(self, setup: MethodSetup) -> None:
        """ConfigError for perturbations: there is no view to perturb."""
        super().__init__(setup)
        given = {
            "mixes": self.mix_names != ("none",),
            "feature_perturbations": bool(self.perturbation_names),
        }
        for name in [name for name, there in given.items() if there]:
            raise ConfigError(f"method.{name}: {setup.params.name} perturbs nothing; leave it out")
        self.learning_rates = {"discriminator": self.options.discriminator_learning_rate}


def halving_layers(channels: Sequence[int]) -> list[nn.Module]:
    """4x4 convolutions from each of `channels` to the next; each halves height and width."""
    return [nn.Conv2d(one, other, 4, stride=2, padding=1) for one, other in pairwise(channels)]


def frozen(module: nn.Module, inputs: Tensor) -> Tensor:
    """What `module` says, with a gradient for the inputs and none for its parameters."""
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    found: Tensor = torch.func.functional_call(module, parameters, (inputs,))
    return found


def judged(logits: Tensor, real: bool, counted: Tensor) -> Tensor:
    """Binary cross-entropy of `logits` against `real`, mean over what is counted; 0 of nothing."""
    target = torch.full_like(logits, float(real))
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (losses * counted).sum() / counted.sum().clamp(min=1)


def one_hot(masks_BHW: Tensor, num_classes: int) -> Tensor:
    """Masks as certain probabilities BKHW; all 0 where IGNORE."""
    known_BHW = masks_BHW != IGNORE
    certain = F.one_hot(masks_BHW.where(known_BHW, 0), num_classes).movedim(-1, 1)
    return certain * known_BHW[:, None].float()
