"""The batch of step t, from (seed, t) alone: killed and resumed, a training draws the same.

B images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.config.params import Params
from pipeline.data.augment import (
    middle_view,
    normalise,
    random_boxes,
    strong_view,
    weak_view,
)
from pipeline.data.dataset import ImageStore
from pipeline.data.random_intensity import random_intensity_view
from pipeline.methods import Batch, StrongColour, StrongView, Unlabelled
from pipeline.records.manifest import Sample
from pipeline.training.domain_adaptation.domain_share import places_of, target_share_of_labels
from pipeline.training.domain_adaptation.enabled import Adaptation
from pipeline.training.domain_adaptation.fourier import with_style_of

# Purposes: streams of random numbers that must not meet.
INITIAL_WEIGHTS, LABELLED, UNLABELLED, NOISE, ORDER_LABELLED, ORDER_UNLABELLED = range(6)
RARE_CLASSES, STYLE = 6, 7
# Share of the other domains' labelled images in the current one's style: they are seen as they are
# as well, or they would be forgotten.
STYLED_SHARE = 0.5
STRONG_COLOURS: dict[StrongColour, Callable[[Tensor, torch.Generator], Tensor]] = {
    "jitter": strong_view,
    "random_intensity": random_intensity_view,
}
"""Of unlabelled images. The labelled are jittered whatever the method, as in the baseline."""


def derive_seed(seed: int, purpose: int, *numbers: int) -> int:
    """A 63-bit seed that is another for every combination."""
    state = np.random.SeedSequence([seed, purpose, *numbers]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def generator(seed: int, purpose: int, *numbers: int) -> torch.Generator:
    """A CPU generator for one purpose at one step."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *numbers))


def draw_indices(seed: int, purpose: int, num_samples: int, places: Sequence[int]) -> list[int]:
    """Samples at `places` of an endless sequence of shuffled passes over all samples.

    Every sample comes once per pass; with fewer samples than places they repeat.
    """
    orders: dict[int, list[int]] = {}
    for epoch in {place // num_samples for place in places}:
        order = torch.randperm(num_samples, generator=generator(seed, purpose, epoch))
        orders[epoch] = order.tolist()
    return [orders[place // num_samples][place % num_samples] for place in places]


class LabelledDraw(Protocol):
    """Another rule for which labelled images a batch has (class_balance.RareClasses)."""

    def draw(self, seed: int, places: range) -> list[int]:
        """Samples at `places` of an endless sequence."""
        ...


@dataclass(frozen=True)
class Process:
    """Which of how many processes draws: each takes its own part of a step's draw."""

    rank: int = 0
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class WholeSet:
    """The middle of each unlabelled image, as a method sees them at the end of a phase."""

    store: ImageStore
    params: Params
    samples: Sequence[Sample]
    device: torch.device

    def __len__(self) -> int:
        """Images."""
        return len(self.samples)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(index_B, normalised images_BCHW) on `device`."""
        size = self.params.train.batch_unlabelled
        for first in range(0, len(self.samples), size):
            group = self.samples[first : first + size]
            images = torch.stack(
                [middle_view(self.store.image(s), self.store.crop_size) for s in group]
            )
            index = torch.arange(first, first + len(group), device=self.device)
            yield index, normalise(images.to(self.device), self.params.model.normalisation)


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Endless labelled and unlabelled streams, open at any step."""

    store: ImageStore
    params: Params
    labelled: Sequence[Sample]
    unlabelled: Sequence[Sample]
    num_strong_views: int
    device: torch.device
    strong_colour: StrongColour = "jitter"
    process: Process = Process()
    rare_classes: LabelledDraw | None = None
    """Draws the labelled images by class, instead of one after the other in shuffled passes."""
    adaptation: Adaptation = field(default_factory=Adaptation)

    def at(self, step: int) -> Batch:
        """The batch of this process, on `device`."""
        images_BCHW, masks_BHW = self._labelled(step)
        unlabelled = None
        if self.unlabelled and self.num_strong_views:
            unlabelled = self._unlabelled(step)
        return Batch(images_BCHW, masks_BHW, unlabelled)

    def _labelled(self, step: int) -> tuple[Tensor, Tensor]:
        draw = self._generator(LABELLED, step)
        places = self._labelled_places(step)
        samples = [self.labelled[place] for place in places]
        views = [
            weak_view(self.store.image(s), self.store.mask(s), draw, size=self.store.crop_size)
            for s in samples
        ]
        weak = self._unit(torch.stack([image for image, _, _ in views]))
        weak = self._styled(weak, samples, step)
        strong = strong_view(weak, draw)
        chosen = torch.rand(len(weak), generator=draw) < self.params.train.labelled_colours
        images = torch.where(chosen.to(self.device)[:, None, None, None], strong, weak)
        masks = torch.stack([mask for _, mask, _ in views]).long()
        return self._normalised(images), masks.to(self.device)

    def _unlabelled(self, step: int) -> Unlabelled:
        draw = self._generator(UNLABELLED, step)
        size = self.params.train.batch_unlabelled
        share = self.params.adapt.target_share
        turns = self._turns(step, size)
        places = self._places(self.unlabelled, ORDER_UNLABELLED, turns, share)
        images = [self.store.image(self.unlabelled[place]) for place in places]
        views = [weak_view(image, None, draw, size=self.store.crop_size) for image in images]
        weak = self._unit(torch.stack([image for image, _, _ in views]))
        valid = torch.stack([valid for _, _, valid in views]).to(self.device)
        strong = tuple(self._strong(weak, draw) for _ in range(self.num_strong_views))
        index = torch.tensor(places, device=self.device)
        return Unlabelled(index, self._normalised(weak), valid, strong)

    def _strong(self, weak_BCHW: Tensor, draw: torch.Generator) -> StrongView:
        method = self.params.method
        colour = STRONG_COLOURS[self.strong_colour]
        images = colour(weak_BCHW, draw) if method.strong_colour else weak_BCHW
        boxes = random_boxes(draw, len(images), *self.store.crop_size, method.mix_probability)
        return StrongView(self._normalised(images), boxes.to(self.device))

    def _styled(self, images_BCHW: Tensor, samples: Sequence[Sample], step: int) -> Tensor:
        """Some images of other domains in the style of one of the current domain each."""
        beta, target = self.params.adapt.fourier_beta, self.adaptation.target
        if not beta:
            return images_BCHW
        draw = self._generator(STYLE, step)
        chosen = torch.rand(len(samples), generator=draw) < STYLED_SHARE
        chosen &= torch.tensor([not self.adaptation.is_target(sample) for sample in samples])
        places = torch.randint(len(target), (len(samples),), generator=draw).tolist()
        styles = self._unit(
            torch.stack(
                [middle_view(self.store.image(target[at]), self.store.crop_size) for at in places]
            )
        )
        styled = with_style_of(images_BCHW, styles, beta)
        return torch.where(chosen.to(self.device)[:, None, None, None], styled, images_BCHW)

    def _labelled_places(self, step: int) -> list[int]:
        turns = self._turns(step, self.params.train.batch_labelled)
        if self.rare_classes:
            return self.rare_classes.draw(self.params.train.seed, turns)
        return self._places(self.labelled, ORDER_LABELLED, turns, self._target_share)

    @cached_property
    def _target_share(self) -> float | None:
        """Of the labelled images."""
        own = sum(self.adaptation.is_target(sample) for sample in self.labelled)
        weight = self.params.adapt.source_weight
        return target_share_of_labels(own, len(self.labelled) - own, weight)

    def _places(
        self, samples: Sequence[Sample], purpose: int, turns: range, share: float | None
    ) -> list[int]:
        """Of the samples, in shuffled passes; with a share, those of the current domain apart."""
        draw = partial(draw_indices, self.params.train.seed, purpose)
        if share is None:
            return draw(len(samples), turns)
        own = [place for place, sample in enumerate(samples) if self.adaptation.is_target(sample)]
        if len(own) in (0, len(samples)):
            return draw(len(samples), turns)
        others = sorted(set(range(len(samples))) - set(own))
        return places_of(turns, share, target=own, others=others, draw=draw)

    def _turns(self, step: int, size: int) -> range:
        """Of the endless stream that all processes share, this process's part at a step."""
        first = (step * self.process.count + self.process.rank) * size
        return range(first, first + size)

    def _generator(self, purpose: int, step: int) -> torch.Generator:
        return generator(self.params.train.seed, purpose, step, self.process.rank)

    def _unit(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.to(self.device).float() / 255

    def _normalised(self, images_BCHW: Tensor) -> Tensor:
        return normalise(images_BCHW, self.params.model.normalisation)
