"""Mixes and cross-domain ClassMix beside plain loops; draws are read off what was mixed."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from benchmarks.fidelity.comparisons import Comparison, largest
from benchmarks.fidelity.plain_pixels import argmax, pixel, softmax
from pipeline.methods import Network, Unlabelled
from pipeline.training.domain_adaptation.class_mix import CrossDomainMix
from pipeline.types import IGNORE
from tests.support.tiny_network import NUM_CLASSES, PixelNetwork, new_batch

THRESHOLD = 0.4


def _cross_domain() -> float:
    """DACS: the loss, given which classes were pasted; off by 1 where they are not ceil(n/2)."""
    student, teacher = PixelNetwork(seed=1), PixelNetwork(seed=2).eval()
    batch, shown = new_batch(1, unlabelled=3, size=(12, 16)), list[Tensor]()
    seen = cast(Unlabelled, batch.unlabelled)

    def mirrored(images_BCHW: Tensor) -> Tensor:
        shown.append(images_BCHW)
        return images_BCHW.flip(3)  # in place of colours

    mix = CrossDomainMix(
        num_classes=NUM_CLASSES,
        confidence_threshold=THRESHOLD,
        target_N=torch.tensor([True, True, False, True, True, True]),
        recoloured=mirrored,
    )
    torch.manual_seed(0)
    loss = mix.loss(cast(Network, student), teacher, batch, seen)
    target_BKHW, learnt_BKHW = teacher(seen.weak_BCHW), student(shown[0].flip(3)).detach()
    rows, pasted, reliable, num_target = [], 0, 0, 0
    for b in range(2):  # the third image is of another domain
        mask_HW, source = batch.masks_BHW[b], batch.images_BCHW[b]
        drawn = set(mask_HW[(shown[0][b] == source).all(dim=0)].tolist()) - {IGNORE}
        present = set(mask_HW.unique().tolist()) - {IGNORE}
        if len(drawn) != math.ceil(len(present) / 2):
            return 1.0
        for y in range(mask_HW.shape[0]):
            for x in range(mask_HW.shape[1]):
                said_K = softmax(pixel(target_BKHW, b, y, x))
                own, label = int(mask_HW[y, x]), argmax(said_K)
                if seen.valid_BHW[b, y, x]:
                    num_target += 1
                    reliable += max(said_K) >= THRESHOLD
                elif own not in drawn:
                    continue
                losses = [-math.log(p) for p in softmax(pixel(learnt_BKHW, b, y, x))]
                rows.append((own in drawn, losses[own if own in drawn else label]))
                pasted += own in drawn
    weight = reliable / num_target
    total = sum(value * (1.0 if is_pasted else weight) for is_pasted, value in rows)
    return largest(loss, total / len(rows)) if 0 < pasted < len(rows) else 1.0


MIXES_COMPARED: list[Comparison] = [
    Comparison("adapt.cross_domain_mix", "classes pasted, weights, labels, loss", _cross_domain),
]
