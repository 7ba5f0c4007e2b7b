"""HRNetV2 against the paper's sizes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from benchmarks.fidelity import plain_networks as plain
from pipeline.config.params import ModelParams
from pipeline.errors import ConfigError, ModelError
from pipeline.models import build_model
from pipeline.models.hrnet import Fusion
from pipeline.models.segmenter import Segmenter

SMALL = "tu-hrnet_w18_small_v2"
MILLIONS = {SMALL: 3.9, "tu-hrnet_w48": 65.9}  # at 19 classes
WIDTHS = {SMALL: 18, "tu-hrnet_w18": 18, "tu-hrnet_w32": 32, "tu-hrnet_w48": 48}


def build(encoder: str, **knobs) -> Segmenter:
    return build_model(ModelParams(name="hrnet", encoder=encoder, **knobs), 19)


@pytest.mark.parametrize(("encoder", "millions"), MILLIONS.items())
def test_as_many_parameters_as_published(encoder: str, millions: float) -> None:
    with torch.device("meta"):
        model = build(encoder)
    found = sum(p.numel() for p in model.parameters())
    assert found / 1e6 == pytest.approx(millions, rel=0.03)


@pytest.mark.heavy
@pytest.mark.parametrize(("encoder", "width"), WIDTHS.items())
def test_shapes_of_the_layers(encoder: str, width: int) -> None:
    with torch.device("meta"):
        model = build(encoder).eval()
        features = model.encode(torch.rand(1, 3, 128, 256))
        representation = model.represent(features)
    expected = [(width * 2**level, 32 >> level, 64 >> level) for level in range(4)]
    assert [tuple(found.shape[1:]) for found in features[1:]] == expected
    assert tuple(representation.shape[1:]) == (15 * width, 32, 64)


def test_the_head_reads_all_resolutions_side_by_side() -> None:
    torch.manual_seed(0)
    fusion = Fusion(3).eval()
    fine, coarse = torch.rand(1, 1, 4, 4), torch.rand(1, 2, 2, 2)
    raised = F.interpolate(coarse, scale_factor=2, mode="bilinear")
    weight, bias = fusion.mix[0].weight[:, :, 0, 0], fusion.mix[0].bias
    expected = torch.empty(3, 4, 4)
    for y in range(4):
        for x in range(4):
            stacked = torch.cat([fine[0, :, y, x], raised[0, :, y, x]])
            expected[:, y, x] = ((weight @ stacked + bias) / (1 + 1e-5) ** 0.5).clamp(min=0)
    torch.testing.assert_close(fusion([torch.empty(1, 3, 16, 16), fine, coarse])[0], expected)


def test_exchange_units_upsample_bilinearly() -> None:
    """A coarse map's way to the finest branch, by loops: 1x1 convolution, norm, pixel areas."""
    torch.manual_seed(0)
    branches = build(SMALL).encoder.eval()
    raised = [module for module in branches.modules() if isinstance(module, nn.Upsample)]
    assert {(module.mode, module.align_corners) for module in raised} == {("bilinear", False)}
    way = branches.model.stage2[0].fuse_layers[0][1]
    coarse = torch.rand(1, way[0].in_channels, 3, 4)
    weights = way[0].weight[2, :, 0, 0].tolist()
    narrow = [
        [
            sum(w * value for w, value in zip(weights, coarse[0, :, y, x].tolist(), strict=True))
            / math.sqrt(1 + way[1].eps)
            for x in range(4)
        ]
        for y in range(3)
    ]
    with torch.no_grad():
        found = way(coarse)[0, 2]
    torch.testing.assert_close(found, torch.tensor(plain.resized(narrow, (6, 8))).view(6, 8))


def test_w18_has_31_upsamplings_and_nearest_is_there_for_the_asking() -> None:
    with torch.device("meta"):
        for upsampling in ("bilinear", "nearest"):
            model = build("tu-hrnet_w18", options={"upsampling": upsampling})
            modes = [m.mode for m in model.encoder.modules() if isinstance(m, nn.Upsample)]
            assert modes == [upsampling] * 31


def test_an_unknown_option_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="width: unknown key; known here: upsampling"):
        build(SMALL, options={"width": 3})


@pytest.mark.heavy
def test_a_file_of_the_classifier_fits(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = timm.create_model(SMALL.removeprefix("tu-")).state_dict()
    save_file(whole, tmp_path / "w.safetensors")
    state = build(SMALL, encoder_weights=str(tmp_path / "w.safetensors")).encoder.state_dict()
    assert state
    assert all(
        torch.equal(value, whole[key.removeprefix("model.")]) for key, value in state.items()
    )
    with pytest.raises(ModelError, match=r"does not fit encoder 'tu-hrnet_w18'"):
        build("tu-hrnet_w18", encoder_weights=str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    ("knobs", "complaint"),
    [
        ({"encoder": "tu-mobilenetv2_100"}, "not 'tu-mobilenetv2_100'; fit: tu-hrnet_w18_small_v2"),
        ({"encoder": "resnet18"}, "not 'resnet18'; fit: tu-hrnet_w18_small_v2"),
        ({"encoder": "tu-hrnet_w19"}, "'tu-hrnet_w19'.*Unknown model"),
        (
            {"encoder": SMALL, "encoder_options": {"feature_location": "incre"}},
            "feature_location is the model's own",
        ),
    ],
)
def test_what_it_cannot_take_is_refused(knobs: dict, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        build(**knobs)
