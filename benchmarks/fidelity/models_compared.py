"""Networks, strategies, style and methods of 2024 beside plain loops."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.fidelity import plain_networks as plain
from benchmarks.fidelity.comparisons import Comparison, largest
from pipeline.config.params import AcquireParams, ModelParams
from pipeline.methods.corrmatch import Correlation
from pipeline.methods.prevmatch import guidance
from pipeline.models import build_model
from pipeline.models.pspnet import PyramidPooling
from pipeline.models.transformers.vit_parts import sincos_2d
from pipeline.training.domain_adaptation.fourier import with_style_of
from pipeline.training.domain_adaptation.masked_consistency import kept_patches
from tests.pipeline.methods import test_corrmatch, test_prevmatch

NUM_CLASSES = 4


def built(name: str, **knobs: Any) -> Any:
    """Small networks, the same at every call, in eval mode."""
    torch.manual_seed(0)
    return build_model(ModelParams(name=name, **knobs), NUM_CLASSES).eval()


@torch.no_grad()
def _hrnet() -> float:
    network = built("hrnet", encoder="tu-hrnet_w18_small_v2")
    way = network.encoder.model.stage2[0].fuse_layers[0][1]
    coarse = torch.rand(1, way[0].in_channels, 3, 4)
    narrow = way[1](way[0](coarse))[0]
    found = way(coarse)[0]
    return max(
        largest(found[c], plain.resized(narrow[c].tolist(), (6, 8))) for c in range(len(narrow))
    )


@torch.no_grad()
def _ddrnet() -> float:
    network = built("ddrnet23_slim")
    seen: dict[str, Tensor] = {}
    fusion = network.encoder.fusion_4[-1]
    fusion.register_forward_hook(
        lambda _m, inputs, _out: seen.update(low=inputs[0], high=inputs[1])
    )
    images_BCHW = torch.rand(1, 3, 64, 64)
    found = network.encode(images_BCHW)[1][0]
    raised = fusion.up(seen["low"].clamp(min=0))[0]
    worst = 0.0
    for channel, (own, other) in enumerate(zip(seen["high"][0], raised, strict=True)):
        higher = plain.resized(other.tolist(), (8, 8))
        worst = max(
            worst,
            largest(
                found[channel], [a + b for a, b in zip(own.flatten().tolist(), higher, strict=True)]
            ),
        )
    return worst


@torch.no_grad()
def _pspnet() -> float:
    torch.manual_seed(0)
    pooling, deepest = PyramidPooling(4, 5, 0.1).eval(), torch.randn(4, 7, 10)
    seen: dict[str, Tensor] = {}
    pooling.merge.register_forward_pre_hook(lambda _m, inputs: seen.update(maps=inputs[0][0]))
    pooling([deepest[None]])
    worst = 0.0
    for level, side in enumerate((1, 2, 3, 6)):
        convolution = cast(nn.Conv2d, cast(nn.Sequential, pooling.narrow[level])[0])
        (weights,) = convolution.weight[:, :, 0, 0].tolist()
        parts = [plain.pooled(channel, side) for channel in deepest.tolist()]
        narrow = [
            [
                max(0.0, sum(w * part[i][j] for w, part in zip(weights, parts, strict=True)))
                / math.sqrt(1 + 1e-5)
                for j in range(side)
            ]
            for i in range(side)
        ]
        worst = max(worst, largest(seen["maps"][4 + level], plain.resized(narrow, (7, 10))))
    return worst


@torch.no_grad()
def _dinov2() -> float:
    options = {"depth": 4, "embed_dim": 48, "num_heads": 3, "img_size": 70}
    network = built("dinov2_dpt", encoder="tu-vit_small_patch14_dinov2", encoder_options=options)
    vit = network.encoder.model
    table = vit.pos_embed[0, 1:, 7].view(5, 5).tolist()
    tokens_BhwD = torch.zeros(1, 7, 9, 48)
    found = vit._pos_embed(tokens_BhwD)[0, 1:, 7]
    return largest(found, plain.bicubic(table, (7, 9), (7.1 / 5, 9.1 / 5)))


def _sincos() -> float:
    height, width, channels = 3, 4, 12
    expected = []
    for y in range(height):
        for x in range(width):
            angles = [[place / 10_000 ** (i / 2) for i in range(3)] for place in (x, y)]
            for of_side in angles:
                expected += [math.sin(a) for a in of_side] + [math.cos(a) for a in of_side]
    return largest(sincos_2d(height, width, channels), expected)


def _fourier() -> float:
    torch.manual_seed(0)
    source, style = torch.rand(2, 1, 1, 12, 18)
    found = with_style_of(source[None, 0], style[None, 0], 0.2)
    mixed = plain.with_style(source[0, 0].numpy(), style[0, 0].numpy(), 0.2)
    return largest(found, mixed.ravel().tolist())


def _patches() -> float:
    torch.manual_seed(0)
    found = kept_patches(torch.empty(2, 3, 14, 27), 0.7, 4)
    torch.manual_seed(0)
    drawn = torch.rand(2, 1, 4, 7).tolist()
    expected = [
        float(drawn[b][0][y * 4 // 14][x * 7 // 27] > 0.7)
        for b in range(2)
        for y in range(14)
        for x in range(27)
    ]
    return largest(found, expected)


def _typiclust() -> float:
    sizes, labels = [9, 4, 5, 7], [0, 2, 0, 1]
    picks = plain.picked_clusters(sizes, [1, 1, 3], AcquireParams(audit_share=0.0))
    return largest(torch.tensor(picks), [float(c) for c in plain.clusters_by_rule(sizes, labels)])


@torch.no_grad()
def _correlation() -> float:
    torch.manual_seed(0)
    correlation = Correlation(3, NUM_CLASSES, 5).eval()
    deepest, logits = torch.randn(1, 3, 2, 3), torch.randn(1, NUM_CLASSES, 2, 3)
    told = correlation(deepest, logits)
    projected = correlation.project(deepest)
    first, second = (
        f(projected)[0].flatten(1).tolist() for f in (correlation.first, correlation.second)
    )
    expected = plain.told(logits[0].flatten(1).tolist(), first, second)
    return largest(told.logits_BKHW, [value for row in expected for value in row])


def _terms(found: tuple[dict[str, Tensor], dict[str, float]]) -> float:
    """Of a method's terms and a plain writing of each."""
    terms, expected = found
    return max(largest(terms[name], value) for name, value in expected.items())


def _guidance() -> float:
    steps = range(10)
    expected = [step / 5 if step < 5 else 1 - (step - 5) / 5 for step in steps]
    return max(largest(guidance(s, 10), g) for s, g in zip(steps, expected, strict=True))


MODELS_COMPARED: list[Comparison] = [
    Comparison("hrnet", "an exchange unit's way from 1/8 to 1/4", _hrnet),
    Comparison("ddrnet23_slim", "what the auxiliary head reads: both branches' sum", _ddrnet),
    Comparison("pspnet", "the pyramid of 1, 4, 9 and 36 parts", _pspnet),
    Comparison("dinov2_dpt", "positions of 5x5 patches at 7x9", _dinov2),
    Comparison("sincos_2d", "positions of 3x4 patches", _sincos),
    Comparison("typiclust", "clusters of 25 picks, one after another", _typiclust),
    Comparison("adapt.fourier_beta", "an image of 12x18 in another's style", _fourier),
    Comparison("adapt.masked_consistency", "which pixels are hidden", _patches),
    Comparison("corrmatch", "logits told along the correlation", _correlation),
    Comparison("corrmatch", "three terms of a step", lambda: _terms(test_corrmatch.compared())),
    Comparison("prevmatch", "two terms of a step", lambda: _terms(test_prevmatch.compared())),
    Comparison("prevmatch", "g(t) at 10 steps", _guidance),
]
