"""DDRNet against the paper's sizes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pipeline.config.params import ModelParams
from pipeline.errors import ModelError
from pipeline.methods.shared.losses import cross_entropy, labelled_loss
from pipeline.models import build_model
from pipeline.models.ddrnet import VARIANTS, DDRNet

MILLIONS = {"ddrnet23_slim": 5.7, "ddrnet23": 20.1, "ddrnet39": 32.3}  # at 19 classes, table 4


def num_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_as_many_parameters_as_published(name: str, millions: float) -> None:
    model = build_model(ModelParams(name=name), 19)
    assert isinstance(model, DDRNet)
    found = num_parameters(model) - num_parameters(model.auxiliary)
    assert found / 1e6 == pytest.approx(millions, rel=0.03)


@pytest.mark.parametrize("name", VARIANTS)
def test_shapes_of_the_layers(name: str) -> None:
    variant = VARIANTS[name]
    w = variant.width
    model = DDRNet(variant, 19).eval()
    shapes = {}
    for part, module in model.encoder.named_modules():
        module.register_forward_hook(
            lambda _module, _inputs, output, part=part: shapes.update({part: output})
        )
    model(torch.rand(1, 3, 128, 256))
    expected = {
        "stem": (w, 32, 64),
        "stage_2": (w, 32, 64),
        "stage_3": (2 * w, 16, 32),
        f"context_4.{variant.num_fusions_at_stage_4 - 1}": (4 * w, 8, 16),
        f"detail_4.{variant.num_fusions_at_stage_4 - 1}": (2 * w, 16, 32),
        "context_5": (8 * w, 4, 8),
        "detail_5": (2 * w, 16, 32),
        "context_6": (16 * w, 2, 4),
        "detail_6": (4 * w, 16, 32),
        "pyramid": (4 * w, 2, 4),
    }
    assert {part: tuple(shapes[part].shape[1:]) for part in expected} == expected


def test_the_auxiliary_head_counts_in_training_only() -> None:
    model = DDRNet(VARIANTS["ddrnet23_slim"], 3).eval()
    images_BCHW, masks_BHW = torch.rand(2, 3, 64, 64), torch.ones(2, 64, 64, dtype=torch.long)
    logits, auxiliary = model.with_auxiliary(images_BCHW)
    assert torch.equal(logits, model(images_BCHW))
    expected = cross_entropy(logits, masks_BHW) + 0.4 * cross_entropy(auxiliary, masks_BHW)
    torch.testing.assert_close(labelled_loss(model, images_BCHW, masks_BHW), expected)


def test_the_auxiliary_head_reads_the_detail_before_its_relu() -> None:
    """By loops: its first norm, ReLU and convolution at one pixel see the fused sum itself."""
    torch.manual_seed(0)
    model = DDRNet(VARIANTS["ddrnet23_slim"], 3).eval()
    norm, _, convolution = model.auxiliary[0]
    norm.bias.data.fill_(0.5)  # what is below zero may pass the second ReLU, not a first one
    seen = {}
    model.encoder.fusion_4[-1].register_forward_hook(lambda _m, _i, out: seen.update(sum=out[1]))
    model.auxiliary[0].register_forward_hook(lambda _m, _i, out: seen.update(first=out))
    with torch.no_grad():
        model.with_auxiliary(torch.rand(1, 3, 64, 64))
    sums_DHW, weights_Dhw = seen["sum"][0].tolist(), convolution.weight[5].tolist()
    assert min(sums_DHW[0][3]) < 0
    expected = 0.0
    for sum_HW, weights_hw in zip(sums_DHW, weights_Dhw, strict=True):
        for i in range(3):
            for j in range(3):
                normed = sum_HW[2 + i][3 + j] / math.sqrt(1 + norm.eps) + 0.5
                expected += weights_hw[i][j] * max(normed, 0.0)
    assert seen["first"][0, 5, 3, 4].item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("knobs", "complaint"),
    [
        ({"options": {"depth": 3}}, r"neither options nor encoder_options, got \{'depth': 3\}"),
        ({"encoder_options": {"pad_type": "same"}}, "neither options nor encoder_options"),
        ({"encoder_weights": "hub"}, "no hub keeps"),
    ],
)
def test_what_it_cannot_take_is_refused(knobs: dict, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        build_model(ModelParams(name="ddrnet23_slim", **knobs), 3)
