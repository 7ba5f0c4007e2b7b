"""Mean Teacher for segmentation (Tarvainen & Valpola 2017): the classic consistency loss."""

from __future__ import annotations

from pipeline.methods.shared.base import Pair, TeacherStudent
from pipeline.methods.shared.losses import likeliest, probs_distance
from pipeline.methods.shared.protocol import Batch, Losses, Unlabelled


class MeanTeacher(TeacherStudent):
    """L = CE(student(x), y) + lambda(t) mean (softmax student(strong u) - softmax teacher(u))^2."""

    def learn(self, pair: Pair, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The term `consistency`."""
        probs_BKHW = pair.teacher(unlabelled.weak_BCHW).softmax(dim=1)
        mix = self.mix(unlabelled, likeliest(probs_BKHW))
        target_BKHW = mix.moved(probs_BKHW)
        images_BCHW = mix.images(unlabelled.strong[0].images_BCHW)
        learnt_BKHW = self.perturbed(pair.student, images_BCHW, target_BKHW).softmax(dim=1)
        distance = probs_distance(learnt_BKHW, target_BKHW, mix.valid(unlabelled.valid_BHW))
        return Losses({"consistency": distance}, {})
