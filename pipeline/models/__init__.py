"""Networks by name: `build_model(params.model, num_classes)` gives logits_BKHW for images_BCHW.

A model = one file (or one function over a library) and one row in MODELS; the contract suite
tests/contracts/test_models.py judges it. B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

from pipeline.models.build import MODELS, build_model
from pipeline.models.checkpoint import (
    LoadedModel,
    load_beside,
    load_model,
    same_model,
    save_model,
    save_untrained,
)
from pipeline.models.encoders import (
    build_encoder,
    load_encoder_weights,
    save_encoder_weights,
)
from pipeline.models.weights import settled

__all__ = [
    "MODELS",
    "LoadedModel",
    "build_encoder",
    "build_model",
    "load_beside",
    "load_encoder_weights",
    "load_model",
    "same_model",
    "save_encoder_weights",
    "save_model",
    "save_untrained",
    "settled",
]
