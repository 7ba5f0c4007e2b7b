"""What a model costs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.config.params import ModelParams
from pipeline.errors import ModelError
from pipeline.models import build_model, profile
from pipeline.models.profile import OWN, Cost, measure
from pipeline.models.segmenter import Segmenter

SIZE = (64, 96)
CNN = "tu-test_efficientnet"


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "MEASURED_S", 0.0)


def cost_of(row: str, **params) -> Cost:
    return measure(row, ModelParams(**params), size=SIZE, num_classes=3, fps=30)


def test_parameters_and_operations_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 8, 3, padding=1)

        def forward(self, images_BCHW: Tensor) -> list[Tensor]:
            return [images_BCHW, self.convolution(images_BCHW)]

    class Decoder(nn.Module):
        def forward(self, features: list[Tensor]) -> Tensor:
            return features[-1]

    network = Segmenter(
        encoder=Encoder(),
        decoder=Decoder(),
        head=nn.Conv2d(8, 3, 1),
        auxiliary=nn.Conv2d(8, 3, 1),
    )
    monkeypatch.setattr(profile, "build_model", lambda *_args, **_options: network)
    found = cost_of("unet")
    assert found.parameters == (8 * 3 * 9 + 8) + (3 * 8 + 3)
    multiplications = SIZE[0] * SIZE[1] * (8 * 3 * 9 + 3 * 8)
    assert found.flops == 2 * multiplications
    assert found.latency_ms["cpu"] > 0
    assert set(found.latency_ms) == {"cpu", *(["cuda"] if torch.cuda.is_available() else [])}


def test_attention_is_counted_too() -> None:
    """Twice the tokens cost twice the linear layers and four times the attention."""
    knobs = {"name": "vit", "encoder": "tu-test_vit", "options": {"decoder": "linear"}}
    flops = [
        measure("vit", ModelParams(**knobs), size=(64, width), num_classes=3, fps=30).flops
        for width in (256, 512)
    ]
    assert flops[1] > 2.02 * flops[0]


@pytest.mark.parametrize(
    ("name", "params", "encoder"),
    [
        ("pspnet", {"encoder": CNN}, CNN),
        ("hrnet", {"encoder": CNN}, "tu-hrnet_w18_small_v2"),
        ("ddrnet23_slim", {"encoder": CNN}, OWN),
        ("vit", {"encoder": "tu-test_vit"}, "tu-test_vit"),
        ("pspnet", {"encoder": "tu-test_vit"}, "tu-mobilenetv2_100"),
    ],
)
def test_the_users_encoder_counts_where_it_fits(name: str, params: dict, encoder: str) -> None:
    assert cost_of(name, **params).encoder == encoder


def test_options_count_for_the_users_own_model_only() -> None:
    light = {"decoder_channels": [8, 8, 8, 8, 8]}
    user = {"name": "unet", "encoder": CNN, "options": light}
    whole = build_model(ModelParams(name="unet", encoder=CNN), 3)
    assert cost_of("unet", **user).parameters < sum(p.numel() for p in whole.parameters())
    assert cost_of("fpn", **user).parameters == cost_of("fpn", encoder=CNN).parameters


def test_nothing_is_fetched_and_no_file_is_read() -> None:
    assert cost_of("pspnet", name="pspnet", encoder=CNN, encoder_weights="absent.pt").flops
    assert cost_of("pspnet", name="pspnet", encoder=CNN, encoder_weights="hub").flops


def test_a_model_keeps_up_if_an_image_takes_no_longer_than_a_frame() -> None:
    def at(fps: float) -> dict[str, bool]:
        times = {"cpu": 40.0, "cuda": 2.0}
        return Cost(
            model="m", encoder=OWN, parameters=1, flops=1, latency_ms=times, fps=fps
        ).keeps_up

    assert at(25) == {"cpu": True, "cuda": True}
    assert at(25.1) == {"cpu": False, "cuda": True}
    assert at(1000) == {"cpu": False, "cuda": False}


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ModelError, match=r"'alexnet'.*unet.*hrnet"):
        cost_of("alexnet")
