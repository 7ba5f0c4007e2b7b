"""Model folders that are not whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pipeline.config.params import ModelParams
from pipeline.errors import ModelError
from pipeline.models import build_model, load_model, save_model, save_untrained
from tests.support.model_variants import DINOV2_S, SMALL_VIT, VIT

DINOV2_OPTIONS = {**SMALL_VIT, "img_size": 98}
PARAMS = ModelParams(name="pspnet_mini", encoder="tu-test_efficientnet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = {"model": PARAMS.model_dump(), "classes": ["a", "b"], "image": {}}
    save_model(tmp_path / "m", build_model(PARAMS, 2), config)
    return tmp_path / "m"


def test_untrained_is_a_marker_that_replaces_a_model(folder: Path) -> None:
    save_untrained(folder, why="no labels")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json"]
    loaded = load_model(folder)
    assert not loaded.trained
    assert loaded.config == {"trained": False, "why": "no labels"}


def test_loading_needs_no_encoder_file(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model"]["encoder_weights"] = "/long/gone.safetensors"
    (folder / "config.json").write_text(json.dumps(config))
    assert load_model(folder).trained


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing; `dvc checkout`"):
        load_model(folder)


def test_cut_off_weights_are_refused(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelError, match="train again"):
        load_model(folder)


def test_weights_of_another_model_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["classes"] = ["a", "b", "c"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="size mismatch"):
        load_model(folder)


@pytest.mark.parametrize(
    ("model", "now"),
    [
        (
            {"name": "hrnet", "encoder": "tu-hrnet_w18_small_v2"},
            {"options": {"upsampling": "nearest"}},
        ),
        ({"name": "pspnet", "encoder": "tu-test_efficientnet"}, {"name": "pspnet_mini"}),
        (
            {"name": "vit", "encoder": VIT, "options": {"positions": "sincos_2d"}},
            {"options": {"positions": "sincos_2d_mae"}},
        ),
        (
            {"name": "dinov2_dpt", "encoder": DINOV2_S, "encoder_options": DINOV2_OPTIONS},
            {"options": {"antialias": True}},
        ),
        (
            {"name": "probe", "encoder": DINOV2_S, "encoder_options": DINOV2_OPTIONS},
            {"options": {"antialias": True, "details": 0}},
        ),
    ],
    ids=["hrnet", "pspnet", "sincos_2d", "dinov2_dpt", "probe"],
)
def test_a_checkpoint_of_before_is_the_network_it_was(
    tmp_path: Path, model: dict, now: dict
) -> None:
    """Written without the number, under the name of then; read, it says what it always said."""
    params = ModelParams(**model)
    torch.manual_seed(0)
    network = build_model(params.model_copy(update=now), 2).eval()
    config = {"model": params.model_dump(), "classes": ["a", "b"], "image": {}}
    save_model(tmp_path / "m", network, config)
    written = json.loads((tmp_path / "m" / "config.json").read_text())
    assert written.pop("architecture") == 3
    (tmp_path / "m" / "config.json").write_text(json.dumps(written))
    loaded = load_model(tmp_path / "m")
    images_BCHW = torch.rand(1, 3, 64, 96)
    assert loaded.network is not None
    assert torch.equal(loaded.network(images_BCHW), network(images_BCHW))
    today = build_model(params, 2).eval()
    shapes = [
        {name: value.shape for name, value in each.state_dict().items()}
        for each in (today, network)
    ]
    if shapes[0] == shapes[1]:
        today.load_state_dict(network.state_dict())
        assert not torch.equal(today(images_BCHW), network(images_BCHW))
    assert {key: loaded.config["model"][key] for key in now} == now


def test_a_probe_of_architecture_2_told_no_parts_of_cells_apart(tmp_path: Path) -> None:
    params = ModelParams(name="probe", encoder="tu-test_efficientnet")
    network = build_model(params.model_copy(update={"options": {"details": 0}}), 2).eval()
    config = {"model": params.model_dump(), "classes": ["a", "b"], "image": {}}
    save_model(tmp_path / "m", network, config)
    written = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps({**written, "architecture": 2}))
    loaded = load_model(tmp_path / "m")
    images_BCHW = torch.rand(1, 3, 64, 96)
    assert loaded.network is not None
    assert torch.equal(loaded.network(images_BCHW), network(images_BCHW))
    assert loaded.config["model"]["options"] == {"details": 0}


def test_a_checkpoint_of_a_later_architecture_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architecture": 4}))
    with pytest.raises(ModelError, match="under architecture 4, this version knows 3; update"):
        load_model(folder)
