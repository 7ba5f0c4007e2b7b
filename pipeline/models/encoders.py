"""Encoders: built by name, their weights from a local file or the hub.

A weights file that fits only in part is refused: a silently random half is worse than an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # nosec B403
from typing import Any

import timm
import torch
from safetensors.torch import load_file, save_file
from segmentation_models_pytorch.encoders import get_encoder
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.mobilenetv3 import MobileNetV3Features
from torch import Tensor, nn

from pipeline.config.network import AUTO_RANDOM, chosen_sha256
from pipeline.config.params import EmbedParams, ModelParams
from pipeline.config.planned import AUTO
from pipeline.errors import ModelError
from pipeline.files import replacing
from pipeline.runtime.weights_folder import require_stored

TIMM = "tu-"  # segmentation_models_pytorch's prefix for timm's names
# What classifiers are called in weight files; a segmentation encoder has none. Nor has it DINOv2's
# token of hidden patches.
HEADS = ("classifier.", "fc.", "head.", "last_linear.", "conv_head.", "bn2.", "mask_token")
LONGEST = 200  # characters of what a library says
SHOWN = 8  # keys listed in an error; enough to see which naming the file follows


@dataclass(frozen=True, kw_only=True)
class EncoderChoice:
    """Which encoder a model is built on; `hub` fetches pretrained weights by name."""

    name: str
    options: Mapping[str, Any]
    hub: bool = False

    def __post_init__(self) -> None:
        """ModelError where options would be dropped without a word."""
        if self.options and not self.name.startswith(TIMM):
            raise ModelError(
                f"encoder_options {dict(self.options)}: only timm encoders ({TIMM}*) take options, "
                f"{self.name!r} does not"
            )

    @property
    def hub_weights(self) -> bool | str | None:
        """smp's `weights`: True for timm's own, "imagenet" for smp's own, None for random."""
        if not self.hub:
            return None
        return True if self.name.startswith(TIMM) else "imagenet"


@dataclass(frozen=True)
class WeightsReport:
    """What a weights file gave: tensors used, and those of stages the encoder leaves out."""

    matched: int
    unused: tuple[str, ...]


def build_encoder(params: ModelParams | EmbedParams) -> nn.Module:
    """The whole encoder with its weights, in eval mode; images_BCHW to a list of feature maps.

    The last map is the deepest. ModelError for an unknown name or weights that do not fit.
    """
    hub = params.encoder_weights == "hub"
    choice = EncoderChoice(name=params.encoder, options=params.encoder_options, hub=hub)
    encoder = feature_encoder(choice)
    initialise_encoder(encoder, params)
    return encoder.eval()


def initialise_encoder(encoder: nn.Module, params: ModelParams | EmbedParams) -> None:
    """Load what `encoder_weights` names: nothing to do for null, and for `hub` (built with it).

    `auto` must have been chosen before (`pipeline.models.settled`): ModelError where it was not, or
    where the weights folder lacks what was chosen.
    """
    given = params.encoder_weights
    if given in (None, "hub", AUTO_RANDOM):
        return
    if given == AUTO:
        raise ModelError("encoder_weights: auto stands for nothing yet; take settled(params)")
    sha256 = chosen_sha256(given)
    path = require_stored(params.encoder, sha256) if sha256 else Path(str(given))
    choice = EncoderChoice(name=params.encoder, options=params.encoder_options)
    load_encoder_weights(encoder, path, choice)


def load_encoder_weights(encoder: nn.Module, path: Path, choice: EncoderChoice) -> WeightsReport:
    """Copy a safetensors or torch file into `encoder`, cast to its dtype; what matched.

    Names may be timm's own or carry smp's `model.` or `encoder.` prefix; timm's `stages.0` may be
    written `stages_0`. Every tensor of the encoder must be there. Surplus is allowed only where it
    belongs to stages which this encoder leaves out (`pspnet_mini` takes three of five) or to a
    classifier; else ModelError.
    """
    wanted = {_plain(name): value for name, value in encoder.state_dict().items()}
    ours = {name.replace(".", "_"): name for name in wanted}
    plain = {_plain(name): value for name, value in read_tensors(path).items()}
    found = {ours.get(name.replace(".", "_"), name): value for name, value in plain.items()}
    missing = sorted(wanted.keys() - found.keys())
    surplus = sorted(found.keys() - wanted.keys())
    known = _names_of_whole(choice) if surplus else frozenset[str]()
    unexpected = [name for name in surplus if name not in known and not name.startswith(HEADS)]
    shapes = [
        f"{name}: file {tuple(found[name].shape)}, encoder {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    if missing or unexpected or shapes:
        raise ModelError(_complaint(path, choice, missing, unexpected, shapes))
    with torch.no_grad():
        for name, value in encoder.state_dict().items():
            value.copy_(found[_plain(name)])
    return WeightsReport(matched=len(wanted), unused=tuple(surplus))


def save_encoder_weights(encoder: nn.Module, path: Path) -> None:
    """Write a safetensors file that `load_encoder_weights` takes: plain names, half precision."""
    tensors = {
        _plain(name): (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for name, value in encoder.state_dict().items()
    }
    with replacing(path) as beside:
        save_file(tensors, beside)


def drop_unused_blocks(encoder: nn.Module) -> None:
    """Remove blocks behind the last feature map that is taken.

    timm's EfficientNet family keeps and computes them all: for `pspnet_mini` a quarter of the
    forward pass and nine tenths of the weights.
    """
    features = getattr(encoder, "model", None)
    if isinstance(features, EfficientNetFeatures | MobileNetV3Features):
        features.blocks = features.blocks[: max(features._stage_out_idx)]


def freeze_batch_norm(encoder: nn.Module) -> None:
    """Put batch norms in eval mode: their statistics stay; call again after every `train()`."""
    for module in encoder.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def whole_encoder(choice: EncoderChoice) -> nn.Module:
    """Every layer that any model takes of this encoder; a ViT, of which smp knows none, whole."""
    try:
        return feature_encoder(choice)
    except ModelError:
        if not (choice.name.startswith(TIMM) and timm.is_model(choice.name.removeprefix(TIMM))):
            raise
    return timm_network(choice, num_classes=0)


def feature_encoder(choice: EncoderChoice, *, output_stride: int = 32) -> nn.Module:
    """A convolutional encoder with its five maps; `hub` of the choice fetches its weights.

    Below 32 the deepest stages are dilated and keep that stride. ModelError for a name that neither
    library has, or whose network gives no maps or takes no dilation.
    """
    dilated = {} if output_stride == 32 else {"output_stride": output_stride}
    try:
        return get_encoder(
            choice.name, depth=5, weights=choice.hub_weights, **dilated, **choice.options
        )
    except OSError as error:
        raise ModelError(f"{no_hub(choice)}: {error}") from error
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"encoder {choice.name!r}: {error}; names: segmentation_models_pytorch's, "
            f"or {TIMM}<any of timm.list_models()>"
        ) from error


def timm_network(choice: EncoderChoice, **fixed: Any) -> nn.Module:
    """timm's network of this name (`tu-*`), for models that need more than smp's five maps.

    `fixed` are arguments of timm.create_model that users may not change; ModelError for an unknown
    name, options the network does not take, or no hub.
    """
    clash = sorted(fixed.keys() & choice.options.keys())
    if clash:
        raise ModelError(f"encoder_options: {', '.join(clash)} is the model's own to set")
    name = choice.name.removeprefix(TIMM)
    try:
        return timm.create_model(name, pretrained=choice.hub, **fixed, **choice.options)
    except OSError as error:
        raise ModelError(f"{no_hub(choice)}: {error}") from error
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        given = f" with encoder_options {dict(choice.options)}" if choice.options else ""
        raise ModelError(f"encoder {choice.name!r}{given}: {error}") from error


def no_hub(choice: EncoderChoice) -> str:
    """What to say when pretrained weights cannot be fetched."""
    return (
        f"encoder {choice.name!r}: no pretrained weights from the hub; check the network, "
        "or give encoder_weights a local file"
    )


def _names_of_whole(choice: EncoderChoice) -> frozenset[str]:
    """Every tensor the complete network of this name has, classifier included where known."""
    if not choice.name.startswith(TIMM):
        return frozenset(map(_plain, feature_encoder(choice).state_dict()))
    with torch.device("meta"):
        network = timm.create_model(choice.name.removeprefix(TIMM), **choice.options)
    return frozenset(map(_plain, network.state_dict()))


def _plain(name: str) -> str:
    """The name without the prefixes under which smp keeps timm's encoders."""
    return name.removeprefix("encoder.").removeprefix("model.")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, or of a torch file without anything that could run.

    ModelError for what is neither, with the place.
    """
    if not path.is_file():
        raise ModelError(
            f"encoder_weights = {str(path)!r}: no such file; give a local file, `hub` or null"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # torch's own words advise to run it
        raise ModelError(
            f"{path}: not a readable file of tensors: it holds other things or is damaged, and "
            "nothing of it was run; save its state dict alone, best as safetensors"
        ) from error
    except Exception as error:  # of a damaged file torch raises whatever it runs into
        raise ModelError(
            f"{path}: not a readable file of tensors (.safetensors, or a torch state dict): "
            f"{' '.join(str(error).split())[:LONGEST]}"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(f"{path}: expected a state dict of tensors, got {type(content).__name__}")
    return content


def _complaint(
    path: Path, choice: EncoderChoice, missing: list[str], unexpected: list[str], shapes: list[str]
) -> str:
    parts = [("missing", missing), ("unexpected", unexpected), ("other shape", shapes)]
    lines = [
        f"{len(names)} {what}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
        for what, names in parts
        if names
    ]
    return (
        f"{path} does not fit encoder {choice.name!r}; choose the encoder it was made for.\n  "
        + "\n  ".join(lines)
    )
