"""FixMatch for segmentation with a Mean Teacher and CutMix (Sohn et al. 2020; Yang et al. 2023).

The averaged teacher labels the weak view; the student learns the reliable ones of these
pseudo-labels on the strong view. What is reliable is a hook: the methods that differ from FixMatch
in this alone override it. B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from pipeline.methods.shared.base import Pair, TeacherStudent
from pipeline.methods.shared.losses import reliable_cross_entropy, share
from pipeline.methods.shared.protocol import Batch, Losses, Unlabelled


class PixelPrediction(NamedTuple):
    """What the teacher says of the weak views, before mixing."""

    probs_BKHW: Tensor
    confidence_BHW: Tensor
    """q, the largest of them."""
    pseudo_BHW: Tensor
    """yhat, its class."""


class FixMatch(TeacherStudent):
    """L = CE(student(x), y) + lambda(t) sum [q >= tau] CE(student(strong u), yhat) / #valid.

    q and yhat: largest probability and class of teacher(weak u), moved with the mix.
    """

    mixes = ("cutmix",)

    def learn(self, pair: Pair, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The term `consistency`; reliable_share."""
        probs_BKHW = pair.teacher(unlabelled.weak_BCHW).softmax(dim=1)
        predicted = PixelPrediction(probs_BKHW, *probs_BKHW.max(dim=1))
        mix = self.mix(unlabelled, predicted.pseudo_BHW)
        weights_BHW = mix.moved(self.pixel_weights(predicted, unlabelled))
        pseudo_BHW, valid_BHW = mix.moved(predicted.pseudo_BHW), mix.valid(unlabelled.valid_BHW)
        images_BCHW = mix.images(unlabelled.strong[0].images_BCHW)
        logits_BKHW = self.perturbed(pair.student, images_BCHW, probs_BKHW, mix)
        terms = self.pixel_terms(logits_BKHW, pseudo_BHW, weights_BHW, valid_BHW)
        return Losses(terms, {"reliable_share": share(weights_BHW, valid_BHW)})

    def pixel_weights(self, predicted: PixelPrediction, unlabelled: Unlabelled) -> Tensor:
        """weights_BHW of the pseudo-labels before mixing: True where reliable, or numbers >= 0."""
        return predicted.confidence_BHW >= self.params.confidence_threshold

    def pixel_terms(
        self, logits_BKHW: Tensor, pseudo_BHW: Tensor, weights_BHW: Tensor, valid_BHW: Tensor
    ) -> dict[str, Tensor]:
        """Terms of the student's logits on the mixed images; all else is mixed as well."""
        loss = reliable_cross_entropy(logits_BKHW, pseudo_BHW, weights_BHW, valid_BHW)
        return {"consistency": loss}
