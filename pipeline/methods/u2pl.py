"""U2PL (Wang et al. 2022): pixels too uncertain for a pseudo-label still say what they are not.

B images, C channels, K classes, H height, W width, h and w of representations, D their dimensions,
N pixels in a row.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor

from pipeline.config.params import Share
from pipeline.methods.shared import contrast
from pipeline.methods.shared.base import Pair
from pipeline.methods.shared.ema_teacher import Teacher
from pipeline.methods.shared.losses import likeliest, reliable_cross_entropy, share
from pipeline.methods.shared.protocol import Batch, Losses, MethodSetup, Network, Unlabelled
from pipeline.metrics.information import entropy_nats
from pipeline.types import IGNORE

KEYS_PER_STEP = 4  # a step fills at most this part of a class's queue: 1 / 4


class Options(contrast.ContrastOptions):
    """method.options of u2pl."""

    unreliable_share: Share = 0.2
    """alpha_0: share of the pixels without a pseudo-label at step 0; falls linearly to 0."""
    contrast_weight: Annotated[float, Field(ge=0)] = 1.0
    """lambda_c, of the contrastive term; 1 in both official configurations."""
    num_negatives: Annotated[int, Field(ge=1)] = 50
    """Keys against each anchor."""
    min_probability: Share = 0.3
    """delta_p: anchors are pixels whose class the teacher gives more than this."""
    low_rank: Annotated[int, Field(ge=1)] = 3
    """An uncertain pixel is a key against a class from this rank of its probabilities on; the
    last rank where there are fewer classes."""
    high_rank: Annotated[int, Field(ge=2)] = 20
    """And below this rank."""
    queue_size: Annotated[int, Field(ge=4)] = 1024
    """Keys kept for each class."""


class Target(NamedTuple):
    """What the teacher says of the weak views."""

    probs_BKHW: Tensor
    reliable_BHW: Tensor
    """Certain enough for a pseudo-label."""
    certain_BHW: Tensor
    """Certain enough for the contrast."""
    unreliable_BHW: Tensor
    """Too uncertain for either: keys."""


class Pixels(NamedTuple):
    """Labelled pixels, then unlabelled ones, in a row."""

    representation_ND: Tensor
    labels_N: Tensor
    """Their classes; IGNORE where none is certain."""
    probs_NK: Tensor
    """The teacher's."""
    labelled_N: Tensor
    """True for pixels of labelled images, whether anybody knows their class or not."""
    unreliable_N: Tensor

    def of_class(self, class_index: int, min_probability: float) -> Tensor:
        """True where the label is this class, and the teacher gives it more than that."""
        return (self.labels_N == class_index) & (self.probs_NK[:, class_index] > min_probability)


class U2PL(contrast.Contrastive):
    """L = CE(student(x), y) + lambda(t) (CE over the reliable pixels of u + contrast).

    The contrast holds certain pixels of a class against kept unreliable ones, surely not of it.
    """

    mixes = ("cutmix",)
    options_type = Options
    options: Options

    def __init__(self, setup: MethodSetup) -> None:
        """Empty queues."""
        super().__init__(setup)
        options = self.options
        self.projection_teacher = Teacher(self.projection, setup.params.ema_decay)
        self.queue = contrast.KeyQueue(setup.num_classes, options.queue_size, options.dimensions)

    def after_step(self, step: int) -> None:
        """The teacher's projection follows too."""
        super().after_step(step)
        self.projection_teacher.update(self.projection, step)

    def learn(self, pair: Pair, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The terms `consistency` and `contrast`; reliable_share."""
        num_labelled = len(batch.images_BCHW)
        with torch.no_grad():
            images_BCHW = torch.cat([batch.images_BCHW, unlabelled.weak_BCHW])
            teacher = cast(Network, pair.teacher.network)
            taught = contrast.see(teacher, self.projection_teacher, images_BCHW)
        probs_BKHW = taught.logits_BKHW.softmax(dim=1)
        sure_BKHW, own_BKHW = probs_BKHW[:num_labelled], probs_BKHW[num_labelled:]
        target = split_by_entropy(own_BKHW, unlabelled.valid_BHW, self._share(step))
        pseudo_BHW = likeliest(own_BKHW)
        known = _pixels(taught, batch.masks_BHW, sure_BKHW, target)
        self._keep_keys(known)

        mix = self.mix(unlabelled, pseudo_BHW)
        images_BCHW = torch.cat([batch.images_BCHW, mix.images(unlabelled.strong[0].images_BCHW)])
        seen = contrast.see(pair.student, self.projection, images_BCHW)
        moved = Target(mix.moved(own_BKHW), *(mix.valid(part) for part in target[1:]))
        learnt = _pixels(seen, batch.masks_BHW, sure_BKHW, moved)
        kept_BHW, logits_BKHW = moved.reliable_BHW, seen.logits_BKHW[num_labelled:]
        terms = {
            # The mean over reliable pixels: lambda_u of the paper divides by their share.
            "consistency": reliable_cross_entropy(
                logits_BKHW, mix.moved(pseudo_BHW), kept_BHW, kept_BHW
            ),
            "contrast": self.options.contrast_weight * self._contrast(learnt, known),
        }
        return Losses(terms, {"reliable_share": share(kept_BHW, mix.valid(unlabelled.valid_BHW))})

    def _share(self, step: int) -> float:
        """alpha_t."""
        return self.options.unreliable_share * (1 - step / self.setup.num_steps)

    @torch.no_grad()
    def _keep_keys(self, known: Pixels) -> None:
        options = self.options
        at_most = options.queue_size // KEYS_PER_STEP
        for c in range(self.setup.num_classes):
            places = key_places(known, c, options.low_rank, options.high_rank).nonzero().squeeze(1)
            chosen = torch.randperm(len(places), device=places.device)[:at_most]
            self.queue.add(c, known.representation_ND[places[chosen]])

    def _contrast(self, learnt: Pixels, known: Pixels) -> Tensor:
        """InfoNCE of the student's pixels, the teacher's mean and kept keys (eq. 5 to 7)."""
        options = self.options
        total = learnt.representation_ND.sum() * 0.0  # a term with a gradient, whatever is there
        num_present = 0
        for c in range(self.setup.num_classes):
            anchors_N = learnt.of_class(c, options.min_probability)
            same_N = known.of_class(c, options.min_probability)
            keys_ND = self.queue.get(c)
            num_present += int((learnt.labels_N == c).any())
            if not (anchors_N.any() and same_N.any() and len(keys_ND)):
                continue
            drawn_A = contrast.draw(anchors_N, options.num_anchors)
            anchors_AD = contrast.rows(learnt.representation_ND, drawn_A)
            positive_D = known.representation_ND[same_N].mean(dim=0)
            shape = (options.num_anchors, options.num_negatives)
            chosen_AM = torch.randint(len(keys_ND), shape, device=keys_ND.device)
            total = total + contrast.info_nce(
                anchors_AD, positive_D, keys_ND, chosen_AM, options.temperature
            )
        return total / max(num_present, 1)


def split_by_entropy(probs_BKHW: Tensor, valid_BHW: Tensor, share_t: float) -> Target:
    """Valid pixels by entropy: all but the highest share_t, the lowest, the highest (eq. 2, 6).

    Ties at a border count on both sides: where all pixels are alike all are reliable.
    """
    entropy_BHW = entropy_nats(probs_BKHW, dim=1)
    low, high = (
        contrast.percentile(entropy_BHW[valid_BHW], part) for part in (share_t, 1 - share_t)
    )
    return Target(
        probs_BKHW=probs_BKHW,
        reliable_BHW=valid_BHW & (entropy_BHW <= high),
        certain_BHW=valid_BHW & (entropy_BHW <= low),
        unreliable_BHW=valid_BHW & (entropy_BHW >= high),
    )


def key_places(pixels: Pixels, class_index: int, low_rank: int, high_rank: int) -> Tensor:
    """True for pixels that are surely not of the class though they might be thought so.

    Unreliable ones for which the class ranks in [low, high); labelled ones of another class for
    which it ranks before low (section 3.3). Rank 0 is the likeliest class.
    """
    low_rank = min(low_rank, pixels.probs_NK.shape[1] - 1)
    own_N1 = pixels.probs_NK[:, class_index : class_index + 1]
    rank_N = (pixels.probs_NK > own_N1).sum(dim=1)
    other_N = (pixels.labels_N != class_index) & (pixels.labels_N != IGNORE) & pixels.labelled_N
    unlikely_N = pixels.unreliable_N & (rank_N >= low_rank) & (rank_N < high_rank)
    return unlikely_N | (other_N & (rank_N < low_rank))


def _pixels(seen: contrast.Seen, masks_BHW: Tensor, sure_BKHW: Tensor, target: Target) -> Pixels:
    """Of labelled images with `masks_BHW` and `sure_BKHW`, then of unlabelled ones."""
    pseudo_BHW = likeliest(target.probs_BKHW).where(target.certain_BHW, IGNORE)
    nothing_BHW = torch.zeros_like(target.certain_BHW)

    def row(labelled: Tensor, unlabelled: Tensor) -> Tensor:
        both = contrast.shrunk(torch.cat([labelled, unlabelled]), seen.representation_BDhw)
        return contrast.in_a_row(both) if both.ndim == 4 else both.flatten()

    return Pixels(
        representation_ND=contrast.in_a_row(seen.representation_BDhw),
        labels_N=row(masks_BHW, pseudo_BHW),
        probs_NK=row(sure_BKHW, target.probs_BKHW),
        labelled_N=row(torch.ones_like(masks_BHW, dtype=torch.bool), nothing_BHW),
        unreliable_N=row(torch.zeros_like(masks_BHW, dtype=torch.bool), target.unreliable_BHW),
    )
