"""Cross pseudo supervision: two networks label for each other (Chen et al. 2021).

B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.methods.shared.base import SemiSupervised
from pipeline.methods.shared.losses import likeliest, reliable_cross_entropy, share
from pipeline.methods.shared.protocol import Batch, Losses, MethodSetup, Unlabelled
from pipeline.types import IGNORE


class CPS(SemiSupervised):
    """L = sum over both f, g of CE(f(x), y) + lambda(t) CE(f(mixed u), argmax g(u), mixed).

    Hard labels of every pixel, no threshold, no average; the first network is kept. Where nothing
    is mixed (method.mixes = [none]) each also learns argmax g(x) on the labelled images.
    """

    mixes = ("cutmix",)

    def __init__(self, setup: MethodSetup) -> None:
        """Two networks from different initial weights."""
        super().__init__(setup)
        self.other = setup.new_network(1)

    def supervised(self, batch: Batch) -> Tensor:
        """Summed over both."""
        # The student first: what it draws for dropout is what it draws in `supervised`.
        loss = super().supervised(batch)
        return loss + self.setup.labelled_loss(self.other, batch.images_BCHW, batch.masks_BHW)

    def unsupervised(self, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """The term `consistency`, summed over both; agreement, the share labelled alike."""
        with torch.no_grad():  # in training mode, as in the authors' code
            own_BKHW = self.student(unlabelled.weak_BCHW).softmax(dim=1)
            others_BKHW = self.other(unlabelled.weak_BCHW).softmax(dim=1)
        own_BHW, others_BHW = likeliest(own_BKHW), likeliest(others_BKHW)
        mix = self.mix(unlabelled, own_BHW)
        images_BCHW = mix.images(unlabelled.strong[0].images_BCHW)
        valid_BHW = mix.valid(unlabelled.valid_BHW)
        loss = torch.zeros((), device=valid_BHW.device)
        for network, probs_BKHW in ((self.student, others_BKHW), (self.other, own_BKHW)):
            target_BKHW = mix.moved(probs_BKHW)
            logits_BKHW = self.perturbed(network, images_BCHW, target_BKHW)
            pseudo_BHW = likeliest(target_BKHW)
            loss = loss + reliable_cross_entropy(logits_BKHW, pseudo_BHW, valid_BHW, valid_BHW)
        if self.mix_names == ("none",):
            loss = loss + self._on_labelled(batch)
        alike_BHW = own_BHW == others_BHW
        return Losses({"consistency": loss}, {"agreement": share(alike_BHW, unlabelled.valid_BHW)})

    def _on_labelled(self, batch: Batch) -> Tensor:
        """CE(f(x), argmax g(x)) + CE(g(x), argmax f(x)) over the labelled pixels (L_cps^l)."""
        known_BHW = batch.masks_BHW != IGNORE
        one_BKHW, two_BKHW = (net(batch.images_BCHW) for net in (self.student, self.other))
        loss = torch.zeros((), device=known_BHW.device)
        for logits_BKHW, said_BKHW in ((one_BKHW, two_BKHW), (two_BKHW, one_BKHW)):
            pseudo_BHW = likeliest(said_BKHW.detach())
            loss = loss + reliable_cross_entropy(logits_BKHW, pseudo_BHW, known_BHW, known_BHW)
        return loss
