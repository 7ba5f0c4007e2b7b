"""What the training loop and a method say to each other.

B images, C channels, K classes, H height, W width. Batches are NamedTuples of tensors, so that
Lightning Fabric can walk through them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor, nn

from pipeline.config.params import MethodParams

StrongColour = Literal["jitter", "random_intensity"]
"""How strong views are coloured: rows of pipeline.training.batches.STRONG_COLOURS."""


class StrongView(NamedTuple):
    """Unlabelled images as the student may see them: colour and blur, not mixed yet."""

    images_BCHW: Tensor
    """Normalised."""
    boxes_BHW: Tensor
    """True in one random box of an image, with method.mix_probability; else False everywhere."""

    @property
    def mixed_B(self) -> Tensor:
        """Which images are to be mixed, boxes or not: True with method.mix_probability."""
        return self.boxes_BHW.flatten(1).any(dim=1)


class Unlabelled(NamedTuple):
    """One draw from the unlabelled stream."""

    index_B: Tensor
    """Each image's place in the unlabelled set (int64)."""
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


class Network(Protocol):
    """A segmentation network in parts (pipeline.models.Segmenter)."""

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """logits_BKHW at the images' size."""
        ...

    def with_auxiliary(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of the head and of the auxiliary head, None without one."""
        ...

    def encode(self, images_BCHW: Tensor) -> list[Tensor]:
        """The image, then feature maps from shallow to deep."""
        ...

    def represent(self, features: list[Tensor]) -> Tensor:
        """representation_BDhw, the head's input."""
        ...

    def classify(self, representation_BDhw: Tensor, like: Tensor) -> Tensor:
        """logits_BKHW at the height and width of `like`."""
        ...

    def decode(self, features: list[Tensor]) -> Tensor:
        """logits_BKHW from feature maps."""
        ...


class UnlabelledSet(Protocol):
    """All unlabelled images of a training, whole and without augmentation."""

    def __len__(self) -> int:
        """How many."""
        ...

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(index_B, normalised images_BCHW) of all, in order; several processes see the same."""
        ...


class CrossDomain(Protocol):
    """What a student learns at a shift, from labelled and unlabelled images or the latter alone."""

    def loss(self, student: Network, teacher: Any, batch: Batch, seen: Unlabelled) -> Tensor:
        """A scalar; it rises with lambda(t), to a weight of 1."""
        ...


@dataclass(frozen=True, kw_only=True)
class MethodSetup:
    """What a method is built from."""

    params: MethodParams
    num_classes: int
    num_steps: int
    new_network: Callable[[int], Any]
    """Network number 0, 1, ...: the same number gives the same initialisation."""
    labelled_loss: Callable[[Any, Tensor, Tensor], Tensor]
    """(network, images_BCHW, masks_BHW) -> scalar; 0 where every pixel is IGNORE."""
    unlabelled: UnlabelledSet
    """For methods that look at the whole set from time to time."""
    cross_domain: CrossDomain | None = None
    """A term beside those of the method, where a training follows a shift."""
    masked: CrossDomain | None = None
    """Another."""


def phase_length(num_steps: int, num_phases: int) -> int:
    """Steps of each phase; the last is shorter where they do not divide."""
    return -(-num_steps // num_phases)


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
    strong_colour: StrongColour
    """What its strong views look like, unless method.strong_colour is off."""
    num_phases: int
    """Trainings one after the other, in equal parts of the steps: the learning rate's course is run
    through in each, and the optimiser remembers nothing of the one before."""
    learning_rates: dict[str, float]
    """Rates other than train.learning_rate, by the first part of the parameters' names."""

    def __call__(self, batch: Batch, step: int) -> Losses:
        """Losses of step number `step`, from 0."""
        ...

    def after_step(self, step: int) -> None:
        """After the optimiser's step: move a teacher, a threshold, a memory."""
        ...

    def restart(self) -> None:
        """The guard saw a collapse: halve the consistency weight, restart teachers."""
        ...

    def result(self) -> nn.Module:
        """The network to keep."""
        ...

    def learner(self) -> nn.Module | None:
        """The student that the network to keep averages; None where it is kept itself."""
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
