"""Mixes and cross-domain ClassMix beside plain loops; draws are read off what was mixed."""

from __future__ import annotations

import math
import random
from typing import cast

import torch
from torch import Tensor

from benchmarks.fidelity.comparisons import Comparison, largest
from benchmarks.fidelity.plain_pixels import argmax, pixel, softmax
from pipeline.data.augment import random_boxes
from pipeline.data.random_intensity import posterise
from pipeline.methods import Network, Unlabelled, augseg
from pipeline.methods.shared.mixing import half_of_classes
from pipeline.training.domain_adaptation.class_mix import CrossDomainMix
from pipeline.types import IGNORE
from tests.support.tiny_network import NUM_CLASSES, PixelNetwork, new_batch

THRESHOLD, SIDE = 0.4, 64


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


def _box_areas() -> float:
    """UniMatch's boxes of 64x64: mean area and how often the centre is covered, by its rule."""
    boxes_BHW = random_boxes(torch.Generator().manual_seed(0), 4000, SIDE, SIDE, 1.0).float()
    draw, areas, covered = random.Random(0), 0.0, 0
    for _ in range(20_000):
        area = draw.uniform(0.02, 0.4) * SIDE**2
        while True:
            aspect = draw.uniform(0.3, 1 / 0.3)
            height, width = int(math.sqrt(area * aspect)), int(math.sqrt(area / aspect))
            top, left = draw.randrange(SIDE), draw.randrange(SIDE)
            if top + height <= SIDE and left + width <= SIDE:
                break
        areas += height * width / SIDE**2
        covered += top <= SIDE // 2 < top + height and left <= SIDE // 2 < left + width
    middle = boxes_BHW[:, SIDE // 2, SIDE // 2].mean()
    found = torch.stack([boxes_BHW.mean(), middle])
    return largest(found, [areas / 20_000, covered / 20_000])


def _augseg_areas() -> float:
    """AugSeg's labelled and partner's boxes of 64x96: mean areas, by its authors' rule."""
    torch.manual_seed(0)
    draw, worst = random.Random(0), 0.0
    for a, b in ((8.0, 2.0), (4.0, 4.0)):
        found = augseg.random_boxes([a, b], torch.zeros(4000, 64, 96)).float().mean()
        total = 0.0
        for _ in range(20_000):
            side, area = math.sqrt(1 - draw.betavariate(a, b)), 1.0
            for size in (64, 96):
                half, centre = int(size * side) // 2, draw.randrange(size // 8, size)
                area *= (min(centre + half, size) - max(centre - half, 0)) / size
            total += area
        worst = max(worst, largest(found, total / 20_000))
    return worst


def _posterise() -> float:
    """Which of the 256 levels are left: 4, 5, 6 and 7 bits at an equal part of the strengths."""
    levels = torch.arange(256).expand(3, 1, 256) / 255
    worst = 0.0
    for number in range(40):
        bits = 4 + number // 10
        step = 2 ** (8 - bits)
        found = posterise(levels, number / 40)[0]
        worst = max(worst, largest(found, [v // step * step / 255 for v in range(256)]))
    return worst


def _classmix() -> float:
    """How many of each image's classes are drawn: floor(n/2), and none by halves."""
    classes_BHW = torch.randint(6, (8, 5, 7), generator=torch.Generator().manual_seed(0))
    classes_BHW = classes_BHW.minimum(torch.arange(8)[:, None, None])  # 1 to 6 classes
    torch.manual_seed(0)
    drawn_BHW = half_of_classes(classes_BHW, 6)
    worst = 0
    for b in range(8):
        inside = set(classes_BHW[b][drawn_BHW[b]].tolist())
        outside = set(classes_BHW[b][~drawn_BHW[b]].tolist())
        wanted = len(inside | outside) // 2
        worst = max(worst, abs(len(inside) - wanted), len(inside & outside))
    return float(worst)


MIXES_COMPARED: list[Comparison] = [
    Comparison("cutmix", "mean area, centre covered: 4,000 boxes", _box_areas, 0.02),
    Comparison("augseg", "mean areas of boxes: 4,000 of each kind", _augseg_areas, 0.01),
    Comparison("augseg", "posterised levels at 40 strengths", _posterise),
    Comparison("classmix", "number of classes drawn", _classmix, 0.0),
    Comparison("adapt.cross_domain_mix", "classes pasted, weights, labels, loss", _cross_domain),
]
