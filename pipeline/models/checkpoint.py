"""A model's folder: model.safetensors + config.json, written whole; or config.json alone.

config.json is written last and holds no times, so equal trainings give equal bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline.config import ImageParams, ModelParams
from pipeline.errors import ModelError
from pipeline.files import replacing, write_json
from pipeline.models.build import build_model

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


@dataclass(frozen=True)
class LoadedModel:
    """A trained network in eval mode and what it was trained as; `network` is None if untrained."""

    network: nn.Module | None
    config: dict[str, Any]

    @property
    def trained(self) -> bool:
        """False where no labelled image existed."""
        return self.network is not None

    @property
    def image(self) -> ImageParams:
        """The size the network was trained at."""
        return ImageParams.model_validate(self.config["image"])


def save_model(folder: Path, network: nn.Module, config: dict[str, Any]) -> None:
    """Write weights, then `config` with trained = true."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    with replacing(folder / WEIGHTS) as beside:
        save_file({name: value.contiguous() for name, value in tensors.items()}, beside)
    write_json(folder / CONFIG, {**config, "trained": True})


def save_untrained(folder: Path, *, why: str) -> None:
    """The marker that later stages read as: there is no model yet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).unlink(missing_ok=True)
    write_json(folder / CONFIG, {"trained": False, "why": why})


def load_model(folder: Path) -> LoadedModel:
    """What `save_model` or `save_untrained` wrote; ModelError if it is not whole."""
    try:
        config: dict[str, Any] = json.loads(_present(folder / CONFIG).read_text(encoding="utf-8"))
        if not config["trained"]:
            return LoadedModel(None, config)
        weights = load_file(_present(folder / WEIGHTS))
        params = ModelParams.model_validate(config["model"])
        network = build_model(params, len(config["classes"]), pretrained=False)
        network.load_state_dict(weights)
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder}: not a model of this version: {error}; train again") from error
    return LoadedModel(network.eval(), config)


def _present(path: Path) -> Path:
    if not path.exists():
        raise ModelError(f"{path}: {path.name} is missing; `dvc checkout` or train again")
    return path
