"""Model folders that are not whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pipeline.config.params import ModelParams
from pipeline.errors import ModelError
from pipeline.models import build_model, load_model, save_model, save_untrained

PARAMS = ModelParams(name="pspnet", encoder="tu-test_efficientnet")


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
