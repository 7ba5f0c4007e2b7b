"""AugSeg (Zhao et al. 2023): random intensities, and labelled pixels in place of doubt.

B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pipeline.config.block import Block
from pipeline.methods.shared.base import Pair, TeacherStudent
from pipeline.methods.shared.losses import likeliest, reliable_cross_entropy, share
from pipeline.methods.shared.mixing import partners
from pipeline.methods.shared.protocol import Batch, Losses, StrongColour, Unlabelled
from pipeline.metrics.information import entropy_nats
from pipeline.types import IGNORE

BetaShape = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2)]


class Options(Block):
    """method.options of augseg; a box has 1 - lam of the image's area, lam ~ Beta(a, b).

    What lies beyond the border is cut off.
    """

    labelled_box: BetaShape = Field(default_factory=lambda: [8.0, 2.0])
    """a, b of the labelled box: 16 % of the image in the mean."""
    box: BetaShape = Field(default_factory=lambda: [4.0, 4.0])
    """a, b of the box taken from the partner: 35 % of the image in the mean."""


class Content(NamedTuple):
    """Images and what is said about their pixels."""

    images_BCHW: Tensor
    probs_BKHW: Tensor
    valid_BHW: Tensor

    def pasted(self, other: Content, where_BHW: Tensor) -> Content:
        """The pixels of `other` where True."""
        return Content(
            torch.where(where_BHW[:, None], other.images_BCHW, self.images_BCHW),
            torch.where(where_BHW[:, None], other.probs_BKHW, self.probs_BKHW),
            torch.where(where_BHW, other.valid_BHW, self.valid_BHW),
        )


class AugSeg(TeacherStudent):
    """L = CE(student(x), y) + lambda(t) sum [q >= tau] CE(student(mixed u), yhat) / #valid.

    Into an image goes a box of its partner, and into the partner, with probability 1 - its
    confidence, a labelled box before. method.mixes, if given, takes the place of that.
    """

    strong_colour: StrongColour = "random_intensity"
    options_type = Options
    options: Options

    def learn(self, pair: Pair, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The term `consistency`; reliable_share."""
        probs_BKHW = pair.teacher(unlabelled.weak_BCHW).softmax(dim=1)
        if self.params.mixes is None:
            mixed = self._adaptive(batch, unlabelled, probs_BKHW)
        else:
            mix = self.mix(unlabelled, likeliest(probs_BKHW))
            images_BCHW = mix.images(unlabelled.strong[0].images_BCHW)
            mixed = Content(images_BCHW, mix.moved(probs_BKHW), mix.valid(unlabelled.valid_BHW))
        confidence_BHW, pseudo_BHW = mixed.probs_BKHW.max(dim=1)
        reliable_BHW = confidence_BHW >= self.params.confidence_threshold
        logits_BKHW = self.perturbed(pair.student, mixed.images_BCHW, mixed.probs_BKHW)
        loss = reliable_cross_entropy(logits_BKHW, pseudo_BHW, reliable_BHW, mixed.valid_BHW)
        logs = {"reliable_share": share(reliable_BHW, mixed.valid_BHW)}
        return Losses({"consistency": loss}, logs)

    def _adaptive(self, batch: Batch, unlabelled: Unlabelled, probs_BKHW: Tensor) -> Content:
        """The strong views after adaptive CutMix (section 3.3)."""
        view = unlabelled.strong[0]
        own = Content(view.images_BCHW, probs_BKHW, unlabelled.valid_BHW)
        certain_B = image_confidence(probs_BKHW, unlabelled.valid_BHW)
        doubtful_B = torch.rand_like(certain_B) >= certain_B
        place_B = torch.arange(len(certain_B)) % len(batch.images_BCHW)
        labelled = _labelled(batch, probs_BKHW.shape[1], place_B)
        boxes_BHW = random_boxes(self.options.labelled_box, view.boxes_BHW)
        given = own.pasted(labelled, boxes_BHW & doubtful_B[:, None, None])
        boxes_BHW = random_boxes(self.options.box, view.boxes_BHW)
        # Where the loader drew no box, by method.mix_probability, the image stays as it is.
        mixed_B = view.boxes_BHW.any(dim=(1, 2))
        return own.pasted(Content(*map(partners, given)), boxes_BHW & mixed_B[:, None, None])


def image_confidence(probs_BKHW: Tensor, valid_BHW: Tensor) -> Tensor:
    """Mean of q (1 - H / ln K) over the valid pixels of each image, in [0, 1] (eq. 5)."""
    entropy_BHW = entropy_nats(probs_BKHW, dim=1) / math.log(probs_BKHW.shape[1])
    certain_BHW = probs_BKHW.amax(dim=1) * (1 - entropy_BHW)
    sides = (1, 2)
    return (certain_BHW * valid_BHW).sum(sides) / valid_BHW.sum(sides).clamp(min=1)


def random_boxes(shape: list[float], like_BHW: Tensor) -> Tensor:
    """True in one box of each image, as in the authors' code.

    Sides sqrt(1 - lam) of the image's, lam ~ Beta(*shape), rounded down to an even number; centre
    uniform in [size / 8, size), so that boxes are cut off at the border. Drawn on the CPU, so that
    a seed gives the same boxes on every device.
    """
    batch, height, width = like_BHW.shape
    a, b = shape
    side_B = (1 - torch.distributions.Beta(a, b).sample((batch,))).sqrt()
    inside = []
    for size in (height, width):
        half_B = (side_B * size).floor().div(2, rounding_mode="floor")
        centre_B = torch.randint(size // 8, size, (batch,))
        place_BS = torch.arange(size) - centre_B[:, None]
        inside.append((place_BS >= -half_B[:, None]) & (place_BS < half_B[:, None]))
    boxes_BHW = inside[0][:, :, None] & inside[1][:, None, :]
    return boxes_BHW.to(like_BHW.device)


def _labelled(batch: Batch, num_classes: int, place_B: Tensor) -> Content:
    """Labelled images with their masks as certainties."""
    masks_BHW = batch.masks_BHW[place_B]
    known_BHW = masks_BHW != IGNORE
    certain = F.one_hot(masks_BHW.where(known_BHW, 0), num_classes).movedim(-1, 1).float()
    return Content(batch.images_BCHW[place_B], certain, known_BHW)
