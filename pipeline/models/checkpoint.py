"""A model's folder: model.safetensors + config.json, written whole; or config.json alone.

Beside them may lie other weights of the same network, such as student.safetensors.

config.json is written last and holds no times, so equal trainings give equal bytes. Its number
`architecture` says what network the model's name stood for when it was written.
"""

from __future__ import annotations

import copy
import filecmp
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.config.params import ImageParams, ModelParams
from pipeline.errors import ModelError
from pipeline.files import replacing, write_json
from pipeline.models.build import build_model
from pipeline.models.earlier import ARCHITECTURE, as_written
from pipeline.reading import read

WEIGHTS = "model.safetensors"
SUFFIX = ".safetensors"
CONFIG = "config.json"
_REMEDY = "`dvc checkout` brings back what was trained, or train again"
_DAMAGE = (OSError, KeyError, TypeError, ValueError, RuntimeError, MemoryError, SafetensorError)


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


def save_model(
    folder: Path,
    network: nn.Module,
    config: dict[str, Any],
    beside: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> None:
    """Write weights, and others of the same network by name; then `config` with trained = true.

    `network` is as `build_model` builds it today.
    """
    _remove_weights(folder)
    for name, weights in {**(beside or {}), Path(WEIGHTS).stem: network.state_dict()}.items():
        tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
        with replacing(folder / f"{name}{SUFFIX}") as unfinished:
            save_file(tensors, unfinished)
    write_json(folder / CONFIG, {**config, "trained": True, "architecture": ARCHITECTURE})


def copy_model(source: Path, folder: Path) -> None:
    """The same model in another folder, its config.json last."""
    _remove_weights(folder)
    for name in (WEIGHTS, CONFIG):
        with replacing(folder / name) as unfinished:
            shutil.copyfile(source / name, unfinished)


def same_model(one: Path, other: Path) -> bool:
    """Whether two trained models have equal files, weights and config.json."""
    pairs = [(one / name, other / name) for name in (CONFIG, WEIGHTS)]
    return all(a.exists() and b.exists() and filecmp.cmp(a, b, shallow=False) for a, b in pairs)


def save_untrained(folder: Path, *, why: str) -> None:
    """The marker that later stages read as: there is no model yet."""
    _remove_weights(folder)
    write_json(folder / CONFIG, {"trained": False, "why": why})


def load_model(folder: Path) -> LoadedModel:
    """What `save_model` or `save_untrained` wrote; ModelError if it is not whole.

    Of an earlier architecture `config["model"]` is what builds the same network today.
    """
    try:
        document = read(_present(folder / CONFIG), remedy=_REMEDY, error=ModelError)
        config = document.json(dict[str, Any])
        if not config["trained"]:
            return LoadedModel(None, config)
        ImageParams.model_validate(config["image"])
        weights = load_file(_present(folder / WEIGHTS))
        written = ModelParams.model_validate(config["model"])
        params = as_written(written, int(config.get("architecture", 1)))
        config["model"] = params.model_dump(mode="json")
        network = build_model(params, len(config["classes"]), pretrained=False)
        network.load_state_dict(weights)
    except ModelError:
        raise
    except _DAMAGE as error:
        raise ModelError(f"{folder}: not a model of this version: {error}; {_REMEDY}") from error
    return LoadedModel(network.eval(), config)


def load_beside(folder: Path, model: LoadedModel) -> dict[str, nn.Module]:
    """By name, the networks that `save_model` wrote beside a trained `model`, in eval mode."""
    found = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if path.name != WEIGHTS and model.network is not None:
            found[path.stem] = copy.deepcopy(model.network)
            try:
                found[path.stem].load_state_dict(load_file(path))
            except _DAMAGE as error:
                raise ModelError(f"{path}: not weights of {folder}: {error}; {_REMEDY}") from error
    return found


def _remove_weights(folder: Path) -> None:
    for path in folder.glob(f"*{SUFFIX}"):
        path.unlink()


def _present(path: Path) -> Path:
    if not path.exists():
        raise ModelError(f"{path}: {path.name} is missing; `dvc checkout` or train again")
    return path
