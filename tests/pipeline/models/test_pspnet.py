"""PSPNet against the paper's figure, pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from benchmarks.fidelity import plain_networks as plain
from pipeline.config.params import ModelParams
from pipeline.errors import ConfigError, ModelError
from pipeline.methods.shared.losses import cross_entropy, labelled_loss
from pipeline.models import build_model
from pipeline.models.pspnet import PyramidPooling
from pipeline.models.segmenter import Segmenter

SMALL = "tu-test_efficientnet"


def build(encoder: str = SMALL, **knobs) -> Segmenter:
    torch.manual_seed(0)
    return build_model(ModelParams(name="pspnet", encoder=encoder, **knobs), 3)


@pytest.mark.parametrize("encoder", [SMALL, "resnet18", "tu-mobilenetv2_100"])
def test_all_five_stages_the_last_two_dilated_to_stride_8(encoder: str) -> None:
    features = build(encoder).eval().encode(torch.rand(1, 3, 64, 96))
    assert [64 // found.shape[-2] for found in features] == [1, 2, 4, 8, 8, 8]
    assert [96 // found.shape[-1] for found in features] == [1, 2, 4, 8, 8, 8]


def test_resnet_50s_size_is_the_papers() -> None:
    """46.7 M parameters: 23.5 M of the encoder, 23.2 M by the layers of figure 3, worked out."""
    with torch.device("meta"):
        model = build_model(ModelParams(name="pspnet", encoder="resnet50"), 21)
    pooling = 4 * (2048 * 512 + 2 * 512) + 4096 * 512 * 9 + 2 * 512
    auxiliary = 1024 * 256 * 9 + 2 * 256 + 256 * 21 + 21
    parts = {
        "decoder": pooling,
        "head": 512 * 21 + 21,
        "auxiliary": auxiliary,
        "encoder": 23_508_032,
    }
    for name, expected in parts.items():
        assert sum(p.numel() for p in model.get_submodule(name).parameters()) == expected, name


def test_the_pyramid_is_means_of_1_4_9_and_36_parts_beside_the_map() -> None:
    torch.manual_seed(0)
    pooling, (height, width) = PyramidPooling(4, 5, 0.1).eval(), (7, 10)
    deepest_4hw = torch.randn(4, height, width)
    seen: dict[str, Tensor] = {}
    pooling.merge.register_forward_pre_hook(lambda _m, inputs: seen.update(maps=inputs[0][0]))
    with torch.no_grad():
        pooling([torch.empty(0), deepest_4hw[None]])
    assert torch.equal(seen["maps"][:4], deepest_4hw)
    for level, side in enumerate((1, 2, 3, 6)):
        (weights,) = pooling.narrow[level][0].weight[:, :, 0, 0].tolist()
        parts = [plain.pooled(channel, side) for channel in deepest_4hw.tolist()]
        narrow = [
            [
                max(0.0, sum(w * p[i][j] for w, p in zip(weights, parts, strict=True)))
                / math.sqrt(1 + 1e-5)
                for j in range(side)
            ]
            for i in range(side)
        ]
        expected = torch.tensor(plain.resized(narrow, (height, width))).view(height, width)
        torch.testing.assert_close(seen["maps"][4 + level], expected)


def test_the_auxiliary_head_reads_stage_4_and_weighs_four_tenths() -> None:
    model = build().eval()
    images_BCHW, masks_BHW = torch.rand(2, 3, 64, 64), torch.ones(2, 64, 64, dtype=torch.long)
    features = model.encode(images_BCHW)
    raised = nn.functional.interpolate(model.auxiliary(features[4]), (64, 64), mode="bilinear")
    logits, auxiliary = model.with_auxiliary(images_BCHW)
    assert torch.equal(auxiliary, raised)
    expected = cross_entropy(logits, masks_BHW) + 0.4 * cross_entropy(auxiliary, masks_BHW)
    torch.testing.assert_close(labelled_loss(model, images_BCHW, masks_BHW), expected)


def test_what_it_cannot_take_is_refused() -> None:
    with pytest.raises(ConfigError, match="psp_dropout: unknown key; known here: width, dropout"):
        build(options={"psp_dropout": 0.2})
    with pytest.raises(ModelError, match=r"encoder 'vgg11'.*dilated"):
        build("vgg11")
