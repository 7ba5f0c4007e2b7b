"""The table of models and the one way to build them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config import ModelParams
from pipeline.errors import ModelError
from pipeline.models import ddrnet, smp
from pipeline.models.encoders import EncoderChoice, initialise_encoder

Builder = Callable[[EncoderChoice, int, Mapping[str, Any]], nn.Module]
"""(encoder, num_classes, options) -> a network, its encoder in `.encoder`, weights not loaded."""

MODELS: dict[str, Builder] = {
    "unet": smp.unet,
    "pspnet": smp.pspnet,
    "deeplabv3": smp.deeplabv3,
    "deeplabv3plus": smp.deeplabv3plus,
    "ddrnet23_slim": ddrnet.ddrnet23_slim,
    "ddrnet23": ddrnet.ddrnet23,
    "ddrnet39": ddrnet.ddrnet39,
}
STRIDE_PX = 32  # the deepest of all encoders; ImageParams demands the same


def build_model(params: ModelParams, num_classes: int, *, pretrained: bool = True) -> nn.Module:
    """A network: normalised images_BCHW to logits_BKHW of the same height and width.

    Parameters that no file gives are drawn from torch's global generator: seed it before.
    `pretrained=False` skips the encoder's weights, for a network about to be loaded.
    ModelError for an unknown name, or encoder weights that do not fit.
    """
    if params.name not in MODELS:
        raise ModelError(f"model.name = {params.name!r}: unknown; known: {', '.join(MODELS)}")
    hub = pretrained and params.encoder_weights == "hub"
    choice = EncoderChoice(name=params.encoder, options=params.encoder_options, hub=hub)
    model = MODELS[params.name](choice, num_classes, params.options)
    if pretrained:
        initialise_encoder(model.get_submodule("encoder"), params)
    model.register_forward_pre_hook(_refuse_sizes)
    # Channels last: a training step takes about a fifth less on CPU (U-Net, PSPNet; 2 cores).
    return model.to(memory_format=torch.channels_last)


def _refuse_sizes(_model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    height, width = inputs[0].shape[-2:]
    if height % STRIDE_PX or width % STRIDE_PX:
        fit = tuple(-(-side // STRIDE_PX) * STRIDE_PX for side in (height, width))
        raise ModelError(
            f"image of {height}x{width} pixels: height and width must be divisible by {STRIDE_PX}; "
            f"resize or pad to {fit[0]}x{fit[1]}"
        )
