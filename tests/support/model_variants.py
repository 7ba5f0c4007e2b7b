"""The networks that tests build: every row of MODELS, small ones first, in all its variants."""

from __future__ import annotations

import pytest

from pipeline.config.params import ModelParams

CNN = "tu-test_efficientnet"
VIT = "tu-test_vit"
DINOV3 = "tu-vit_tiny_patch16_dinov3_qkvb"
DINOV2_S, DINOV2_B = "tu-vit_small_patch14_dinov2", "tu-vit_base_patch14_dinov2"
SMALL_VIT = {"depth": 4, "embed_dim": 48, "num_heads": 3}

SMALL = {
    **{
        name: ModelParams(name=name, encoder=CNN)
        for name in (
            "unet",
            "pspnet",
            "pspnet_mini",
            "deeplabv3",
            "deeplabv3plus",
            "segformer",
            "fpn",
        )
    },
    "upernet": ModelParams(name="upernet", encoder=CNN, options={"decoder_channels": 32}),
    "hrnet": ModelParams(name="hrnet", encoder="tu-hrnet_w18_small_v2"),
    "ddrnet23_slim": ModelParams(name="ddrnet23_slim"),
    "vit": ModelParams(name="vit", encoder=VIT),
    "vit, linear decoder": ModelParams(name="vit", encoder=VIT, options={"decoder": "linear"}),
    "dinov2_dpt": ModelParams(
        name="dinov2_dpt", encoder=DINOV2_S, encoder_options={**SMALL_VIT, "img_size": 70}
    ),
    "dinov2_dpt, DINOv3": ModelParams(
        name="dinov2_dpt", encoder=DINOV3, encoder_options={**SMALL_VIT}
    ),
    "probe": ModelParams(name="probe", encoder=CNN),
    "probe, ViT": ModelParams(name="probe", encoder=VIT),
}
"""The smallest of each family; seconds for all."""

LARGE = {
    "ddrnet23": ModelParams(name="ddrnet23"),
    "ddrnet39": ModelParams(name="ddrnet39"),
    **{
        f"hrnet, {encoder}": ModelParams(name="hrnet", encoder=f"tu-hrnet_{encoder}")
        for encoder in ("w18", "w32", "w48")
    },
    **{
        f"vit, {key}: {value}": ModelParams(name="vit", encoder=VIT, options={key: value})
        for key, value in (
            ("positions", "learned"),
            ("positions", "sincos_1d"),
            ("positions", "sincos_2d"),
            ("positions", "none"),
            ("stem", "convolutional"),
            ("token", "mean"),
            ("token", "none"),
            ("freeze_encoder", True),
        )
    },
    "vit, DINOv3": ModelParams(name="vit", encoder=DINOV3, encoder_options={**SMALL_VIT}),
    "vit, tiny": ModelParams(name="vit", encoder="tu-vit_tiny_patch16_224"),
    "vit, DINOv2": ModelParams(name="vit", encoder=DINOV2_S),
    "dinov2_dpt, S": ModelParams(name="dinov2_dpt", encoder=DINOV2_S),
    "dinov2_dpt, S frozen": ModelParams(
        name="dinov2_dpt", encoder=DINOV2_S, options={"freeze_encoder": True}
    ),
    "dinov2_dpt, B": ModelParams(name="dinov2_dpt", encoder=DINOV2_B),
}
"""The rest: for `make test-slow`."""

VARIANTS = [
    *(pytest.param(params, id=name) for name, params in SMALL.items()),
    *(pytest.param(params, id=name, marks=pytest.mark.slow) for name, params in LARGE.items()),
]
