"""Warm start from the last round's teacher, and averaging with it (WiSE-FT)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import layout
from pipeline.config.network import AUTO_RANDOM, chosen_sha256
from pipeline.config.params import ModelParams, Params
from pipeline.files import sha256_file
from pipeline.models import load_model
from pipeline.models.checkpoint import WEIGHTS
from pipeline.runtime.progress import say


def last_teacher(root: Path, params: Params, stage: str) -> dict[str, Tensor] | None:
    """Weights to start from; None, and a line that says why, where there are none that fit.

    ModelError where previous/teacher is not whole.
    """
    folder = root / layout.PREVIOUS_TEACHER
    if not folder.exists() or not (model := load_model(folder)).trained:
        say(f"{stage}: no teacher of a round before; the network starts anew")
        return None
    assert model.network is not None
    then_model = ModelParams.model_validate(model.config["model"])
    changed = [
        name
        for name, then, now in (
            ("classes", tuple(model.config["classes"]), params.classes),
            ("model", _shape(then_model), _shape(params.model)),
            ("start", False, _is_mended(then_model, params.model)),
        )
        if then != now
    ]
    if changed:
        say(f"{stage}: the last teacher had other {' and '.join(changed)}; the network starts anew")
        return None
    return model.network.state_dict()


@torch.no_grad()
def average_with(network: nn.Module, last: Mapping[str, Tensor], share: float) -> None:
    """Weights and statistics theta <- (1 - s) theta + s theta_last, in place; whole numbers stay.

    Wortsman et al. 2022 (WiSE-FT), section 3: on the line between what a network was and what it
    became, little of the new is lost before much of the old is back.
    """
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(last[name].to(value), share)


def last_teacher_sha256(root: Path) -> str:
    """Hash of the last teacher's weights, for the key that a training depends on."""
    return sha256_file(root / layout.PREVIOUS_TEACHER / WEIGHTS)


def _is_mended(then: ModelParams, now: ModelParams) -> bool:
    """Whether `auto` found no weights then and some now: they are begun from."""
    return then.encoder_weights == AUTO_RANDOM and chosen_sha256(now.encoder_weights) is not None


def _shape(model: ModelParams) -> dict[str, Any]:
    """What decides which weights there are, and what they expect of an image."""
    return model.model_dump(exclude={"encoder_weights", "freeze_batch_norm", "contender"})
