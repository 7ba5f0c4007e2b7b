"""Files of an encoder's weights, as timm and torch write them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from pipeline.models.encoders import EncoderChoice, whole_encoder

ENCODER = "tu-test_efficientnet"


def state_of(seed: int, name: str = ENCODER) -> dict[str, Tensor]:
    """timm's own names."""
    torch.manual_seed(seed)
    state = whole_encoder(EncoderChoice(name=name, options={})).state_dict()
    return {key.removeprefix("model."): value for key, value in state.items()}


def timm_file(path: Path, seed: int = 7, **changes: Tensor) -> Path:
    save_file({**state_of(seed), **changes}, path)
    return path


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
