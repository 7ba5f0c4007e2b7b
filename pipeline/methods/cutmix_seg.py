"""CutMix-Seg (French et al. 2020): consistency of probabilities on images mixed by a box."""

from __future__ import annotations

from pipeline.config.block import Block
from pipeline.methods.shared.base import Pair, TeacherStudent
from pipeline.methods.shared.losses import likeliest, probs_distance, share
from pipeline.methods.shared.protocol import Batch, Losses, Unlabelled


class Options(Block):
    """What the confidence decides."""

    per_pixel: bool = False
    """true = reliable pixels alone teach; false = all do, weighed by the share of reliable ones."""


class CutMixSeg(TeacherStudent):
    """L = CE(student(x), y) + lambda(t) c mean_pixels sum_k (softmax student - softmax teacher)^2.

    c: share of pixels whose teacher's largest probability reaches tau, one number for a batch.
    """

    mixes = ("cutmix",)
    options_type = Options
    options: Options

    def learn(self, pair: Pair, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The term `consistency`; reliable_share, which is c."""
        probs_BKHW = pair.teacher(unlabelled.weak_BCHW).softmax(dim=1)
        mix = self.mix(unlabelled, likeliest(probs_BKHW))
        target_BKHW = mix.moved(probs_BKHW)
        valid_BHW = mix.valid(unlabelled.valid_BHW)
        reliable_BHW = target_BKHW.amax(dim=1) >= self.params.confidence_threshold
        reliable_share = share(reliable_BHW, valid_BHW)
        images_BCHW = mix.images(unlabelled.strong[0].images_BCHW)
        learnt_BKHW = self.perturbed(pair.student, images_BCHW, target_BKHW).softmax(dim=1)
        taught_BHW = reliable_BHW & valid_BHW if self.options.per_pixel else valid_BHW
        # Masked by pixel, the mean is over the reliable ones, so the rate makes it one over all.
        distance = reliable_share * probs_distance(learnt_BKHW, target_BKHW, taught_BHW)
        loss = self.setup.num_classes * distance  # a sum over classes, not a mean
        return Losses({"consistency": loss}, {"reliable_share": reliable_share})
