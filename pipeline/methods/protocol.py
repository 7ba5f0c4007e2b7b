"""What the training loop and a method say to each other.

B images, C channels, K classes, H height, W width. Batches are NamedTuples of tensors, so that
Lightning Fabric can walk through them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from pipeline.config import MethodParams


class StrongView(NamedTuple):
    """Unlabelled images as the student sees them: colour, blur, and boxes of a partner (CutMix)."""

    images_BCHW: Tensor
    """Normalised, boxes already pasted."""
    mix_BHW: Tensor
    """True where the pixel is the partner's."""
    partner_B: Tensor
    """Index in the batch of each image's partner."""

    def mixed(self, values: Tensor) -> Tensor:
        """`values` (BHW or BCHW, of the weak view) moved with the pixels."""
        mask = self.mix_BHW if values.ndim == 3 else self.mix_BHW[:, None]
        return torch.where(mask, values[self.partner_B], values)


class Unlabelled(NamedTuple):
    """One draw from the unlabelled stream."""

    weak_BCHW: Tensor
    """Normalised; rescaled, cropped and flipped only."""
    valid_BHW: Tensor
    """False where the view is padding."""
    strong: tuple[StrongView, ...]
    """As many as the method's `num_strong_views`."""


class Batch(NamedTuple):
    """What one step learns from."""

    images_BCHW: Tensor
    """Labelled, normalised, augmented."""
    masks_BHW: Tensor
    """int64 class indices, IGNORE where unknown or padding."""
    unlabelled: Unlabelled | None
    """None where no unlabelled image exists, or the method wants none."""


class Losses(NamedTuple):
    """What a step minimises, and what it tells."""

    terms: dict[str, Tensor]
    """Scalars, already weighted; the loop minimises their sum."""
    logs: dict[str, Tensor]
    """Scalars without gradient, for the curves: `reliable_share`, ..."""


@dataclass(frozen=True, kw_only=True)
class MethodSetup:
    """What a method is built from."""

    params: MethodParams
    num_classes: int
    num_steps: int
    new_network: Callable[[int], nn.Module]
    """Network number 0, 1, ...: the same number gives the same initialisation."""


class Method(Protocol):
    """An nn.Module that holds all networks, heads and memories of one way to learn.

    One optimiser steps every parameter that requires a gradient; those under a name with `encoder`
    take the encoder's learning rate. All state is in parameters and buffers, since that is what a
    checkpoint keeps. An adversary is trained in the same step: freeze it for the term that fools
    it, and give it a term of its own on detached inputs. Noise is drawn from torch's global
    generator, which the loop seeds at every step.
    """

    num_strong_views: int
    """Of each unlabelled image; 0 = no unlabelled images wanted."""
    cutmix: bool
    """Whether strong views shall be mixed."""

    def __call__(self, batch: Batch, step: int) -> Losses:
        """Losses of step number `step`, from 0."""
        ...

    def after_step(self, step: int) -> None:
        """After the optimiser's step: move a teacher, a threshold, a memory."""
        ...

    def result(self) -> nn.Module:
        """The network to keep."""
        ...

    def train(self, mode: bool = True) -> Any:
        """As nn.Module; a teacher stays in eval mode."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """As nn.Module."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """As nn.Module."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """As nn.Module."""
        ...
