"""ViT: its formulae, its exchangeable parts, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.fidelity import plain_networks as plain
from pipeline.config.params import ModelParams
from pipeline.errors import ConfigError, ModelError
from pipeline.models import build_model
from pipeline.models.segmenter import Segmenter
from pipeline.models.transformers.dpt import DPT
from pipeline.models.transformers.vit_parts import (
    SINCOS,
    ConvolutionalStem,
    sincos_1d,
    sincos_2d,
    sincos_2d_mae,
)
from tests.support.model_variants import DINOV2_S, DINOV3, SMALL_VIT, VIT

SMALL_DINOV2 = {**SMALL_VIT, "img_size": 70}


def build(encoder: str = VIT, name: str = "vit", **knobs) -> Segmenter:
    torch.manual_seed(0)
    return build_model(ModelParams(name=name, encoder=encoder, **knobs), 3).eval()


def tokens_seen(model: Segmenter, images_BCHW: Tensor) -> Tensor:
    """What the first block reads, BND."""
    seen: list[Tensor] = []
    hook = model.encoder.model.blocks[0].register_forward_pre_hook(
        lambda _module, inputs: seen.append(inputs[0])
    )
    model(images_BCHW)
    hook.remove()
    return seen[0]


def naive_attention(attention: nn.Module, tokens_ND: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V for each head (Vaswani et al. 2017, eq. 1), then the output."""
    num, channels = tokens_ND.shape
    heads = attention.num_heads
    d = channels // heads
    together = tokens_ND @ attention.qkv.weight.T + attention.qkv.bias
    read = torch.zeros(num, channels, dtype=tokens_ND.dtype)
    for head in range(heads):
        first = head * d
        query, key, value = (
            together[:, part * channels + first : part * channels + first + d] for part in range(3)
        )
        for n in range(num):
            scores = [float(query[n] @ key[m]) / math.sqrt(d) for m in range(num)]
            total = sum(math.exp(score) for score in scores)
            for m in range(num):
                read[n, first : first + d] += math.exp(scores[m]) / total * value[m]
    return read @ attention.proj.weight.T + attention.proj.bias


@torch.no_grad()
def test_blocks_attend_by_the_formula() -> None:
    attention = build().encoder.model.blocks[0].attn.double()
    nn.init.normal_(attention.qkv.weight, std=0.3)  # as drawn, all scores are about 0
    tokens_ND = torch.randn(7, 64, dtype=torch.float64)
    expected = naive_attention(attention, tokens_ND)
    torch.testing.assert_close(attention(tokens_ND[None])[0], expected)
    order = torch.randperm(7)
    turned = attention(tokens_ND[order][None])[0]
    torch.testing.assert_close(turned, expected[order])  # it knows no order


def test_sincos_1d_by_the_formula() -> None:
    height, width, channels = 3, 4, 8
    found = sincos_1d(height, width, channels)
    for y in range(height):
        for x in range(width):
            for i in range(channels // 2):
                angle = (y * width + x) / 10000 ** (2 * i / channels)
                assert found[y, x, 2 * i] == pytest.approx(math.sin(angle), abs=1e-6)
                assert found[y, x, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize(("formula", "denominator"), [(sincos_2d, 2), (sincos_2d_mae, 3)])
def test_sincos_2d_by_the_formula(formula, denominator: int) -> None:
    """Beyer et al. divide i by D/4 - 1, so that the last wavelength is 10,000; MAE by D/4."""
    height, width, channels = 3, 4, 12
    found, quarter = formula(height, width, channels), channels // 4
    for y in range(height):
        for x in range(width):
            for i in range(quarter):
                frequency = 1 / 10000 ** (i / denominator)
                expected = [f(place * frequency) for place in (x, y) for f in (math.sin, math.cos)]
                assert found[y, x, i::quarter].tolist() == pytest.approx(expected, abs=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("name", ["vit", "dinov2_dpt"])
def test_dinov2s_positions_are_interpolated_as_in_its_code(name: str) -> None:
    """By loops: bicubic over 4x4 places, no antialias, the scale of a side larger by .1."""
    model = build(DINOV2_S, name, encoder_options=SMALL_DINOV2)
    vit, (height, width), side = model.encoder.model, (2, 9), 5
    nn.init.zeros_(vit.patch_embed.proj.weight)
    nn.init.zeros_(vit.patch_embed.proj.bias)
    nn.init.normal_(vit.pos_embed)
    nn.init.normal_(vit.cls_token)
    seen_ND = tokens_seen(model, torch.rand(1, 3, 32, 128))[0]  # 2x9 patches of 14 pixels
    torch.testing.assert_close(seen_ND[0], vit.cls_token[0, 0] + vit.pos_embed[0, 0])
    table = vit.pos_embed[0, 1:, 7].view(side, side).tolist()
    scale = ((height + 0.1) / side, (width + 0.1) / side)
    expected = torch.tensor(plain.bicubic(table, (height, width), scale))
    torch.testing.assert_close(seen_ND[1:, 7], expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_antialiased_positions_are_there_for_the_asking_and_nothing_else_changes() -> None:
    """At the table's own size both say the same; smaller, not."""
    own = build(DINOV2_S, "dinov2_dpt", encoder_options=SMALL_DINOV2)
    other = build(DINOV2_S, "dinov2_dpt", encoder_options=SMALL_DINOV2, options={"antialias": True})
    assert list(own.state_dict()) == list(other.state_dict())
    for size, same in (((64, 64), True), ((32, 64), False)):
        images_BCHW = torch.rand(1, 3, *size)
        found = [tokens_seen(model, images_BCHW) for model in (own, other)]
        assert torch.equal(*found) == same, size
    plain = build(options={"antialias": False}).encoder.model
    assert type(plain).__name__ == "VisionTransformer", "not a DINOv2"


@pytest.mark.parametrize("formula", [sincos_1d, sincos_2d, sincos_2d_mae])
def test_no_two_places_are_alike(formula) -> None:
    places_ND = formula(6, 8, 64).flatten(0, 1)
    apart = torch.cdist(places_ND, places_ND) + torch.eye(48)
    assert apart.min() > 0.1


@torch.no_grad()
@pytest.mark.parametrize("positions", ["own", "learned"])
def test_learned_positions_are_the_table_at_its_size_and_interpolated_elsewhere(
    positions: str,
) -> None:
    model = build(options={"positions": positions}, encoder_options={"img_size": 96})
    vit = model.encoder.model
    nn.init.zeros_(vit.patch_embed.proj.weight)
    nn.init.zeros_(vit.patch_embed.proj.bias)
    nn.init.zeros_(vit.cls_token)
    nn.init.normal_(vit.pos_embed)
    images_BCHW = torch.rand(1, 3, 96, 96)
    assert torch.equal(tokens_seen(model, images_BCHW), vit.pos_embed)
    vit.pos_embed[:, 1:] = vit.pos_embed[:, 1:2]  # a constant stays one at any size
    other = tokens_seen(model, torch.rand(1, 3, 64, 128))
    assert other.shape == (1, 1 + 4 * 8, 64)
    torch.testing.assert_close(other[:, 1:], vit.pos_embed[:, 1:2].expand(1, 32, 64))


@torch.no_grad()
@pytest.mark.parametrize("positions", ["sincos_1d", "sincos_2d", "sincos_2d_mae", "none"])
def test_fixed_positions_are_added_to_patches_alone(positions: str) -> None:
    model = build(options={"positions": positions})
    assert model.encoder.model.pos_embed is None
    tokens_BND = tokens_seen(model, images_BCHW := torch.rand(2, 3, 64, 96))
    patches_BDhw = model.encoder.model.patch_embed.proj(images_BCHW)
    expected = patches_BDhw.permute(0, 2, 3, 1)
    if positions != "none":
        expected = expected + SINCOS[positions](4, 6, 64)
    torch.testing.assert_close(tokens_BND[:, 1:], expected.flatten(1, 2))
    torch.testing.assert_close(tokens_BND[:, :1], model.encoder.model.cls_token.expand(2, 1, 64))


@pytest.mark.parametrize("patch_px", [4, 6, 14, 16])
def test_the_convolutional_stem_gives_one_token_per_patch(patch_px: int) -> None:
    stem = ConvolutionalStem(patch_px, 24).eval()
    images_BCHW = torch.rand(1, 3, 3 * patch_px, 5 * patch_px, requires_grad=True)
    tokens_BDhw = stem(images_BCHW)
    assert tokens_BDhw.shape == (1, 24, 3, 5)
    tokens_BDhw[0, :, 1, 2].sum().backward()
    seen_HW = images_BCHW.grad.abs().sum((0, 1)) > 0
    patch = seen_HW[patch_px : 2 * patch_px, 2 * patch_px : 3 * patch_px]
    assert patch.float().mean() > 0.9
    assert not seen_HW[:, 4 * patch_px :].any()


@torch.no_grad()
def test_the_readout_is_the_class_token_or_the_mean() -> None:
    images_BCHW = torch.rand(2, 3, 64, 96)
    plain, with_class, with_mean = (
        build(options={"token": token}).encode(images_BCHW)[-1]
        for token in ("none", "class", "mean")
    )
    added = with_class - plain
    torch.testing.assert_close(added, added[:, :, :1, :1].expand_as(added))
    model = build(options={"token": "none"}).encoder.model
    class_BD = model.forward_features(images_BCHW)[:, 0]
    torch.testing.assert_close(added[:, :, 0, 0], class_BD, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(with_mean, plain + plain.mean((2, 3), keepdim=True))


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (96, 128), (224, 160)])
@pytest.mark.parametrize("encoder", [VIT, DINOV2_S, DINOV3])
def test_images_are_resized_to_the_nearest_multiple_of_the_patch(
    encoder: str, size: tuple[int, int]
) -> None:
    model = build(encoder, encoder_options={} if encoder == VIT else SMALL_DINOV2)
    patch_px = 14 if encoder == DINOV2_S else 16
    images_BCHW = torch.rand(1, 3, *size)
    maps = model.encode(images_BCHW)[1:]
    expected = tuple(math.floor(side / patch_px + 0.5) for side in size)
    assert [found.shape[-2:] for found in maps] == [expected] * 4
    assert model(images_BCHW).shape == (1, 3, *size)


def test_dpt_fuses_from_coarse_to_fine() -> None:
    decoder = DPT(16, 8)
    shapes: dict[str, tuple[int, ...]] = {}
    for part, module in decoder.named_modules():
        module.register_forward_hook(
            lambda _m, _i, output, part=part: shapes.update({part: tuple(output.shape[1:])})
        )
    decoder([torch.rand(1, 3, 70, 98), *torch.rand(4, 1, 16, 5, 7)])
    expected = {
        "resize.0": (2, 20, 28),
        "resize.1": (4, 10, 14),
        "resize.2": (8, 5, 7),
        "resize.3": (16, 3, 4),
        "fuse.3": (8, 5, 7),
        "fuse.2": (8, 10, 14),
        "fuse.1": (8, 20, 28),
        "fuse.0": (8, 40, 56),
        "out": (8, 40, 56),
    }
    assert {part: shapes[part] for part in expected} == expected


@pytest.mark.parametrize(
    ("encoder", "taken", "width"),
    [(DINOV2_S, [2, 5, 8, 11], 64), ("tu-vit_base_patch14_dinov2", [2, 5, 8, 11], 128),
     ("tu-vit_large_patch14_dinov2", [4, 11, 17, 23], 256)],
)  # fmt: skip
def test_dinov2_dpt_reads_unimatchs_blocks(encoder: str, taken: list[int], width: int) -> None:
    with torch.device("meta"):
        model = build_model(ModelParams(name="dinov2_dpt", encoder=encoder), 3)
    assert model.encoder.taken == taken
    assert model.head.in_channels == width
    assert all(p.requires_grad for p in model.parameters())


def test_a_frozen_encoder_gets_no_gradient() -> None:
    knobs = {"encoder_options": SMALL_DINOV2, "options": {"freeze_encoder": True}}
    model = build(DINOV2_S, "dinov2_dpt", **knobs).train()
    model(torch.rand(1, 3, 64, 64)).sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert all(p.grad is not None for p in model.decoder.parameters())


def test_a_local_file_fits_also_with_dinov2s_mask_token(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = timm.create_model(DINOV2_S.removeprefix("tu-"), **SMALL_DINOV2).state_dict()
    save_file({**whole, "mask_token": torch.zeros(1, 48)}, file := tmp_path / "w.safetensors")
    knobs = {"encoder_options": SMALL_DINOV2, "encoder_weights": str(file)}
    state = build(DINOV2_S, "dinov2_dpt", **knobs).encoder.state_dict()
    assert {key.removeprefix("model.") for key in state} == set(whole)
    assert all(
        torch.equal(value, whole[key.removeprefix("model.")]) for key, value in state.items()
    )
    with pytest.raises(ModelError, match=r"missing: patch_embed\.proj\.0\.weight"):
        build(DINOV2_S, **knobs, options={"stem": "convolutional"})


@pytest.mark.parametrize(
    ("knobs", "complaint"),
    [
        ({"encoder": "tu-mobilenetv2_100"}, "not 'tu-mobilenetv2_100'; fit: tu-vit_tiny"),
        ({"encoder": "resnet18"}, "not 'resnet18'; fit: tu-vit_tiny"),
        ({"encoder": "tu-vit_none"}, "'tu-vit_none'.*Unknown model"),
        ({"name": "dinov2_dpt"}, "not 'tu-test_vit'; fit: tu-vit_small_patch14_dinov2"),
        ({"encoder_options": {"depth": 3}}, "4 blocks, the encoder has 3; decoder: linear"),
        ({"encoder_options": {"num_classes": 3}}, "num_classes is the model's own"),
        ({"encoder_options": {"banana": 3}}, "with encoder_options .*banana"),
        (
            {"encoder": "tu-vit_base_patch16_rope_224", "options": {"positions": "none"}},
            "ways of its own",
        ),
        ({"encoder": "tu-vit_base_patch16_siglip_224"}, "no class token; options: {token: mean}"),
        (
            {"encoder_weights": "hub", "options": {"stem": "convolutional"}},
            "no weights on the hub",
        ),
    ],
)
def test_what_it_cannot_take_is_refused(
    knobs: dict, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = timm.create_model
    monkeypatch.setattr(  # nothing is fetched
        timm, "create_model", lambda name, *, pretrained=False, **options: create(name, **options)
    )
    with torch.device("meta"), pytest.raises(ModelError, match=complaint):
        build(**knobs)


def test_a_wrong_option_says_what_is_allowed() -> None:
    with pytest.raises(
        ConfigError, match=r"model.options.*\n.*decoder = 'unet'.*'dpt' or 'linear'"
    ):
        build(options={"decoder": "unet"})
    with pytest.raises(ConfigError, match="decoder: unknown key; known here: freeze_encoder"):
        build(DINOV2_S, "dinov2_dpt", options={"decoder": "dpt"})
