"""Encoder weights: what is taken, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import segmentation_models_pytorch
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.config.params import EmbedParams, ModelParams
from pipeline.errors import ModelError
from pipeline.models import (
    build_encoder,
    build_model,
    load_encoder_weights,
    save_encoder_weights,
)
from pipeline.models.encoders import EncoderChoice, freeze_batch_norm

ENCODER = "tu-test_efficientnet"
CHOICE = EncoderChoice(name=ENCODER, options={})


def whole_encoder(seed: int = 7) -> nn.Module:
    torch.manual_seed(seed)
    return build_encoder(ModelParams(encoder=ENCODER))


def timm_file(path: Path, **changes: Tensor) -> Path:
    """A file with timm's own names, in float16, with a classifier's tensor."""
    state = {k.removeprefix("model."): v for k, v in whole_encoder().state_dict().items()}
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    save_file({**half, "classifier.weight": torch.rand(10, 4), **changes}, path)
    return path


@pytest.mark.parametrize("name", ["unet", "pspnet_mini", "pspnet"])
def test_a_files_weights_arrive_cast_to_float32(name: str, tmp_path: Path) -> None:
    file = timm_file(tmp_path / "w.safetensors")
    params = ModelParams(name=name, encoder=ENCODER, encoder_weights=str(file))
    encoder = build_model(params, 3).get_submodule("encoder")
    expected = whole_encoder().state_dict()
    for key, value in encoder.state_dict().items():
        assert value.dtype == expected[key].dtype
        torch.testing.assert_close(value, expected[key].half().to(value.dtype), msg=key)


def test_the_report_says_what_matched_and_what_was_left_over(tmp_path: Path) -> None:
    encoder = whole_encoder(seed=1)
    report = load_encoder_weights(encoder, timm_file(tmp_path / "w.safetensors"), CHOICE)
    assert report.matched == len(encoder.state_dict())
    assert report.unused == ("classifier.weight",)


def test_a_torch_file_with_smp_names_is_read(tmp_path: Path) -> None:
    state = {f"encoder.{key}": value for key, value in whole_encoder().state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    encoder = build_encoder(EmbedParams(encoder=ENCODER, encoder_weights=str(tmp_path / "w.pt")))
    assert torch.equal(
        encoder.state_dict()["model.conv_stem.weight"], state["encoder.model.conv_stem.weight"]
    )


def test_what_does_not_fit_is_named_and_nothing_is_changed(tmp_path: Path) -> None:
    file = timm_file(
        tmp_path / "w.safetensors",
        **{"conv_stem.weight": torch.rand(9, 3, 3, 3), "stranger.weight": torch.rand(2)},
    )
    encoder = whole_encoder(seed=1)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(ModelError) as error:
        load_encoder_weights(encoder, file, CHOICE)
    message = str(error.value)
    assert "1 unexpected: stranger.weight" in message
    assert "1 other shape: conv_stem.weight: file (9, 3, 3, 3), encoder (" in message
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


def test_another_encoders_file_is_refused_naming_missing_tensors(tmp_path: Path) -> None:
    save_file({"layer1.weight": torch.rand(2)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"missing: .*bn1\.bias.*, \.\.\.\n.*layer1\.weight"):
        load_encoder_weights(whole_encoder(), tmp_path / "w.safetensors", CHOICE)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_file_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"not tensors at all")
    with pytest.raises(ModelError, match="not a readable file of tensors"):
        load_encoder_weights(whole_encoder(), tmp_path / name, CHOICE)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file; give a local file, `hub` or null"):
        build_encoder(ModelParams(encoder=ENCODER, encoder_weights=str(tmp_path / "absent")))


@pytest.mark.parametrize("name", ["tu-nothing_of_the_kind", "nothing"])
def test_an_unknown_encoder_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=name):
        build_encoder(ModelParams(encoder=name))
    with pytest.raises(ModelError, match=name):
        build_model(ModelParams(encoder=name), 3)


def test_options_reach_timm_and_are_refused_elsewhere() -> None:
    params = ModelParams(encoder=ENCODER, encoder_options={"drop_path_rate": 0.25})
    probs = [getattr(m, "drop_prob", 0.0) for m in build_encoder(params).modules()]
    assert max(probs) > 0.1
    with pytest.raises(ModelError, match="only timm encoders"):
        build_encoder(ModelParams(encoder="resnet18", encoder_options={"pad_type": "same"}))


def test_the_hub_is_asked_for_pretrained_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def get_encoder(name: str, **options: object) -> nn.Module:
        asked.update(options, name=name)
        raise OSError("no network here")

    monkeypatch.setattr("pipeline.models.encoders.get_encoder", get_encoder)
    with pytest.raises(ModelError, match="give encoder_weights a local file: no network here"):
        build_encoder(ModelParams(encoder=ENCODER, encoder_weights="hub"))
    assert asked["weights"] is True
    with pytest.raises(ModelError, match="no network here"):
        build_encoder(ModelParams(encoder="resnet18", encoder_weights="hub"))
    assert asked["weights"] == "imagenet"


def test_blocks_that_nobody_takes_are_dropped_and_nothing_else_changes() -> None:
    params = ModelParams(name="pspnet_mini", encoder=ENCODER)
    torch.manual_seed(0)
    model = build_model(params, 3).eval()
    torch.manual_seed(0)
    whole = segmentation_models_pytorch.PSPNet(ENCODER, encoder_weights=None, classes=3).eval()
    whole = whole.to(memory_format=torch.channels_last)  # the order of sums is the model's
    images_BCHW = torch.rand(2, 3, 64, 64)
    assert torch.equal(model(images_BCHW), whole(images_BCHW))
    assert set(model.encoder.state_dict()) < set(whole.encoder.state_dict())


def test_options_reach_the_models_class_and_unknown_ones_are_refused() -> None:
    narrow = {"decoder_channels": [16, 16, 8, 8, 8]}
    model = build_model(ModelParams(name="unet", encoder=ENCODER, options=narrow), 3)
    assert model.get_submodule("head")[0].in_channels == 8
    wrong = {"decoder_channels": [16]}
    with pytest.raises(ModelError, match=r"Unet with options .*decoder_channels.*\[16\]"):
        build_model(ModelParams(name="unet", encoder=ENCODER, options=wrong), 3)


def test_frozen_batch_norms_keep_their_statistics_while_the_rest_trains() -> None:
    encoder = whole_encoder().train()
    freeze_batch_norm(encoder)
    before = {k: v.clone() for k, v in encoder.state_dict().items() if "running" in k}
    encoder(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(before[key], encoder.state_dict()[key]) for key in before)
    assert encoder.training


@pytest.mark.data
def test_the_shared_encoder_knows_sky_from_road() -> None:
    folder = os.environ.get("SSL_LOOP_DATA", "")
    file = Path(folder) / "encoders/mobilenetv2_100_in1k_fp16.safetensors"
    if not folder or not file.is_file():
        pytest.skip("SSL_LOOP_DATA does not point at the public data")
    params = ModelParams(
        name="pspnet_mini",
        encoder="tu-mobilenetv2_100",
        encoder_weights=str(file),
        encoder_options={"pad_type": "same"},
        normalisation="symmetric",
    )
    encoder = build_model(params, 3).get_submodule("encoder")
    report = load_encoder_weights(
        encoder, file, EncoderChoice(name="tu-mobilenetv2_100", options={"pad_type": "same"})
    )
    assert any(name.startswith("conv_head") for name in report.unused)
    assert "Conv2dSame" in type(encoder.get_submodule("model.conv_stem")).__name__


def test_what_is_saved_is_read_in_half_precision(tmp_path: Path) -> None:
    encoder = whole_encoder(seed=1)
    save_encoder_weights(encoder, tmp_path / "w.safetensors")
    other = whole_encoder(seed=2)
    report = load_encoder_weights(other, tmp_path / "w.safetensors", CHOICE)
    assert report.unused == ()
    for key, value in encoder.state_dict().items():
        found = other.state_dict()[key]
        torch.testing.assert_close(found, value.half().to(value.dtype), msg=key)
