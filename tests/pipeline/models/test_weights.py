"""Weights of encoders: what is kept, and what `auto` stands for."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from pipeline.config.params import EmbedParams, ModelParams
from pipeline.errors import ConfigError, ModelError, WorkspaceError
from pipeline.files import sha256_file
from pipeline.models import build_encoder, build_model, load_encoder_weights, settled, weights
from pipeline.models.encoders import EncoderChoice, timm_network, whole_encoder
from pipeline.models.weights import (
    add_weights,
    chosen_weights,
    expected_normalisation,
)
from pipeline.runtime.weights_folder import (
    require_stored,
    stored_path,
    stored_weights,
)
from tests.support.encoder_files import ENCODER, left_in, state_of, timm_file

pytestmark = pytest.mark.usefixtures("folder")
FIRST = "model.conv_stem.weight"


def test_a_file_is_kept_as_it_is_and_begun_from_by_its_hash(tmp_path: Path, folder: Path) -> None:
    file = timm_file(tmp_path / "w.safetensors")
    kept = add_weights(file, ENCODER)
    assert kept.sha256 == kept.origin_sha256 == sha256_file(file)
    assert (kept.source, kept.origin) == ("file", str(file))
    assert stored_path(ENCODER, kept.sha256).read_bytes() == file.read_bytes()
    assert stored_weights(ENCODER) == [kept]
    assert len(left_in(folder)) == 2
    params = settled(ModelParams(encoder=ENCODER, encoder_weights="auto"))
    assert params.encoder_weights == f"auto:{kept.sha256}"
    assert torch.equal(build_encoder(params).state_dict()[FIRST], load_file(file)[FIRST[6:]])
    model = build_model(params, 3)
    assert torch.equal(model.encoder.state_dict()[FIRST], load_file(file)[FIRST[6:]])


def test_a_torch_file_is_kept_as_safetensors_of_the_same_tensors(
    tmp_path: Path, folder: Path
) -> None:
    state = state_of(7)
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    kept = add_weights(tmp_path / "w.pth", ENCODER)
    assert kept.origin_sha256 == sha256_file(tmp_path / "w.pth") != kept.sha256
    found = load_file(require_stored(ENCODER, kept.sha256))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert add_weights(tmp_path / "w.pth", ENCODER).sha256 == kept.sha256
    assert len(left_in(folder)) == 2


def test_the_newest_is_begun_from_and_the_older_stays(tmp_path: Path) -> None:
    one = add_weights(timm_file(tmp_path / "1.safetensors", seed=1), ENCODER)
    two = add_weights(timm_file(tmp_path / "2.safetensors", seed=2), ENCODER)
    assert chosen_weights(ENCODER) == f"auto:{two.sha256}"
    pinned = EmbedParams(encoder=ENCODER, encoder_weights=f"auto:{one.sha256}")
    assert settled(pinned) == pinned
    first = load_file(tmp_path / "1.safetensors")[FIRST[6:]]
    assert torch.equal(build_encoder(pinned).state_dict()[FIRST], first)
    assert add_weights(tmp_path / "1.safetensors", ENCODER).sha256 == one.sha256
    assert chosen_weights(ENCODER) == f"auto:{one.sha256}"


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("ran",))


def with_code(path: Path) -> Path:
    torch.save({"conv_stem.weight": _Code()}, path)
    return path


def truncated(path: Path) -> Path:
    timm_file(path)
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def a_folder(path: Path) -> Path:
    path.mkdir()
    return path


def of_another(path: Path) -> Path:
    save_file({"layer1.weight": torch.rand(2)}, path)
    return path


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (lambda path: path, "absent.safetensors", "No such file or directory; name a"),
        (a_folder, "folder.safetensors", "a folder, expected a"),
        (truncated, "w.safetensors", "not a readable file of tensors"),
        (with_code, "w.pth", "it holds other things or is damaged, and nothing of it was run"),
        (truncated, "w.bin", "not a readable file of tensors"),
        (timm_file, "w.onnx", "an unknown form, expected a .safetensors or .pth, .pt, .bin file"),
        (of_another, "w.safetensors", "does not fit encoder 'tu-test_efficientnet'"),
    ],
)
def test_what_is_no_weights_of_the_encoder_is_refused_and_nothing_kept(
    make: Any, name: str, words: str, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = make(tmp_path / name)
    with pytest.raises(ModelError) as error:
        add_weights(file, ENCODER)
    assert str(error.value).startswith(str(file))
    assert words in str(error.value)
    assert "\n" not in str(error.value) or "does not fit" in words
    assert not left_in(folder)
    assert not Path("ran").exists()


def test_an_unknown_encoder_is_refused_by_name(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match="tu-nothing"):
        add_weights(timm_file(tmp_path / "w.safetensors"), "tu-nothing")
    assert not left_in(folder)


def test_a_full_disk_leaves_nothing_and_is_said(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = timm_file(tmp_path / "w.safetensors")

    def half(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:100])
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(weights.shutil, "copyfile", half)
    with pytest.raises(WorkspaceError, match=r"cannot be written: No space left .*make space"):
        add_weights(file, ENCODER)
    assert not left_in(folder)


def test_a_folder_that_is_a_file_is_said(tmp_path: Path, folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("")
    torch.save(state_of(7), tmp_path / "w.pth")
    with pytest.raises(WorkspaceError, match="weights: cannot be written: File exists"):
        add_weights(tmp_path / "w.pth", ENCODER)


def test_what_a_killed_download_left_is_removed_a_day_later(tmp_path: Path, folder: Path) -> None:
    torch.save(state_of(7), tmp_path / "w.pth")
    for name, age_s in ((".unfinished-old", weights.LEFT_AFTER_S + 60), (".unfinished-new", 60)):
        (folder / name).mkdir(parents=True)
        (folder / name / "half").write_text("")
        then = time.time() - age_s
        os.utime(folder / name, (then, then))
    add_weights(tmp_path / "w.pth", ENCODER)
    assert [path.name for path in folder.glob(".unfinished-*")] == [".unfinished-new"]


def test_names_of_stages_fit_whichever_way_they_are_written(tmp_path: Path) -> None:
    """smp's ConvNeXt says stages_0 for timm's stages.0."""
    name = "tu-test_convnext"
    timm_state = timm.create_model(name[3:], num_classes=0).state_dict()
    assert any(key.startswith("stages.0.") for key in timm_state)
    save_file(timm_state, tmp_path / "w.safetensors")
    choice = EncoderChoice(name=name, options={})
    encoder = whole_encoder(choice)
    assert any(key.startswith("model.stages_0.") for key in encoder.state_dict())
    report = load_encoder_weights(encoder, tmp_path / "w.safetensors", choice)
    assert report.matched == len(encoder.state_dict())
    key = next(key for key in timm_state if key.startswith("stages.0."))
    loaded = encoder.state_dict()["model." + key.replace("stages.0", "stages_0")]
    assert torch.equal(loaded, timm_state[key])


def test_a_vit_is_kept_though_no_unet_takes_it(tmp_path: Path) -> None:
    name = "tu-test_vit"
    save_file(
        timm_network(EncoderChoice(name=name, options={})).state_dict(), tmp_path / "w.safetensors"
    )
    kept = add_weights(tmp_path / "w.safetensors", name)
    params = ModelParams(
        name="vit", encoder=name, encoder_weights="auto", options={"decoder": "linear"}
    )
    encoder = build_model(settled(params), 3).encoder.state_dict()
    found = load_file(require_stored(name, kept.sha256))
    assert torch.equal(encoder["model.cls_token"], found["cls_token"])


def test_without_weights_auto_is_random_and_says_so_once(
    no_hub: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    params = settled(ModelParams(encoder=ENCODER, encoder_weights="auto"))
    assert params.encoder_weights == "auto:random"
    assert settled(params) == params
    assert settled(EmbedParams(encoder=ENCODER, encoder_weights="auto")).encoder_weights == (
        "auto:random"
    )
    build_encoder(params)
    assert len(no_hub) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert (
        "no weights from the hub (timm/test_efficientnet.r160_in1k): no network here;" in lines[0]
    )
    assert "add FILE --encoder tu-test_efficientnet" in lines[0]
    assert lines[1].startswith(f"WARNING: encoder {ENCODER} starts from random weights; `ssl-loop")


def test_null_and_files_are_as_they_are_without_a_word(
    no_hub: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for given in (None, "hub", "some.pth", f"auto:{'0' * 64}"):
        params = ModelParams(encoder=ENCODER, encoder_weights=given)
        assert settled(params) == params
    assert (no_hub, capsys.readouterr().err) == ([], "")


def test_chosen_weights_that_are_gone_or_altered_are_no_others(tmp_path: Path) -> None:
    one = add_weights(timm_file(tmp_path / "1.safetensors", seed=1), ENCODER)
    add_weights(timm_file(tmp_path / "2.safetensors", seed=2), ENCODER)
    params = ModelParams(encoder=ENCODER, encoder_weights=f"auto:{one.sha256}")
    path = stored_path(ENCODER, one.sha256)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ModelError, match=f"altered: SHA-256 .*, expected {one.sha256[:12]}"):
        build_encoder(settled(params))
    path.unlink()
    with pytest.raises(ModelError, match=f"no such file: .*{one.sha256}; `ssl-loop weights fetch"):
        build_encoder(settled(params))


def test_an_auto_that_nobody_settled_is_an_error_and_not_random() -> None:
    with pytest.raises(ModelError, match="stands for nothing yet"):
        build_encoder(ModelParams(encoder=ENCODER, encoder_weights="auto"))


@pytest.mark.parametrize("given", ["auto", "auto:random", f"auto:{'0' * 64}"])
def test_a_network_with_an_encoder_of_its_own_takes_no_auto(given: str) -> None:
    with pytest.raises(ModelError, match="ddrnet23 has an encoder of its own"):
        settled(ModelParams(name="ddrnet23", encoder_weights=given))
    plain = settled(ModelParams(name="ddrnet23", normalisation="auto"))
    assert plain.normalisation == "imagenet"


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        ("tu-mobilenetv2_100", "imagenet"),
        ("tu-mobilenetv2_100.ra_in1k", "imagenet"),
        ("tu-tf_mobilenetv3_small_minimal_100", "symmetric"),
        ("tu-vit_tiny_patch16_224", "symmetric"),
        ("tu-vit_small_patch14_dinov2", "imagenet"),
    ],
)
def test_normalisation_is_the_names_own(encoder: str, expected: str) -> None:
    assert expected_normalisation(encoder) == expected
    assert settled(EmbedParams(encoder=encoder, normalisation="auto")).normalisation == expected
    other = "symmetric" if expected == "imagenet" else "imagenet"
    given = EmbedParams(encoder=encoder, normalisation=other)  # type: ignore[arg-type]
    assert settled(given).normalisation == other


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ("tu-vit_base_patch32_clip_224", "expects mean .*neither imagenet nor symmetric"),
        ("resnet18", "is not known; give normalisation: imagenet or symmetric"),
        ("tu-nothing", "is not known"),
        ("nothing", "is not known"),
    ],
)
def test_a_normalisation_that_is_neither_is_refused(encoder: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        expected_normalisation(encoder)


def test_padding_is_the_names_own() -> None:
    """tf_* names pad as TensorFlow does without an option."""
    stem = whole_encoder(EncoderChoice(name="tu-tf_mobilenetv3_small_minimal_100", options={}))
    assert type(stem.get_submodule("model.conv_stem")).__name__ == "Conv2dSame"


# --- the hub


@pytest.mark.data
def test_the_shared_encoder_is_kept_and_begun_from() -> None:
    shared = os.environ.get("SSL_LOOP_DATA", "")
    file = Path(shared) / "encoders/mobilenetv2_100_in1k_fp16.safetensors"
    if not shared or not file.is_file():
        pytest.skip("SSL_LOOP_DATA does not point at the public data")
    kept = add_weights(file, "tu-mobilenetv2_100")
    params = settled(EmbedParams(encoder_weights="auto", encoder_options={"pad_type": "same"}))
    assert params.encoder_weights == f"auto:{kept.sha256}"
    loaded = build_encoder(params).state_dict()[FIRST]
    assert torch.equal(loaded, load_file(file)[FIRST[6:]].float())
