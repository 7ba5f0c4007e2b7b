"""Vision transformers (Dosovitskiy et al. 2021) of timm with a DPT or a linear decoder.

B images, C channels, K classes, H height, W width, D channels of a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import timm
import torch.nn.functional as F
from timm.layers.patch_embed import PatchEmbed
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pipeline.config.block import Block, parse_block
from pipeline.errors import ModelError
from pipeline.models.encoders import TIMM, EncoderChoice, timm_network
from pipeline.models.segmenter import Segmenter
from pipeline.models.transformers.dpt import DPT, NUM_MAPS, LastMap
from pipeline.models.transformers.vit_parts import (
    SINCOS,
    ConvolutionalStem,
    DINOv2Positions,
    FixedPositions,
)

FIT = (
    "tu-vit_tiny_patch16_224, tu-vit_small_patch14_dinov2, tu-vit_base_patch14_dinov2, "
    "tu-vit_small_patch16_dinov3 and others of timm's vit_*"
)
FAMILIES = ("vision_transformer", "vision_transformer_hybrid", "deit", "eva")  # modules of timm
DINO_FIT = (
    "tu-vit_small_patch14_dinov2, tu-vit_base_patch14_dinov2, tu-vit_small_patch16_dinov3, "
    "tu-vit_base_patch16_dinov3"
)
WIDTHS = ((384, 64), (768, 128), (float("inf"), 256))  # of DPT, for tokens up to S, B, and above


class DINOv2Options(Block):
    """`model.options` of dinov2_dpt."""

    freeze_encoder: bool = False
    """Train the decoder alone."""
    antialias: bool = False
    """Of DINOv2's table of positions where it is interpolated: timm's way. DINOv2's own code does
    not; encoders with registers, and all others, always do."""


class ViTOptions(DINOv2Options):
    """`model.options` of vit."""

    decoder: Literal["dpt", "linear"] = "dpt"
    """linear = one 1x1 convolution on the last map."""
    positions: Literal["own", "learned", "sincos_1d", "sincos_2d", "sincos_2d_mae", "none"] = "own"
    """own = the encoder's: a learned table, or turned queries and keys in DINOv3; learned = a
    table, interpolated to other sizes than the encoder's img_size."""
    stem: Literal["linear", "convolutional"] = "linear"
    """How a patch becomes a token."""
    token: Literal["class", "mean", "none"] = "class"
    """What stands for the whole image and is added to every patch token before the decoder."""


def vit(encoder: EncoderChoice, num_classes: int, options: Mapping[str, Any]) -> Segmenter:
    """A ViT of any size and patch (DINOv2 and v3 too) with a DPT or a linear decoder."""
    return _build(encoder, num_classes, parse_block(ViTOptions, options, source="model.options"))


def dinov2_dpt(encoder: EncoderChoice, num_classes: int, options: Mapping[str, Any]) -> Segmenter:
    """UniMatch V2's network: DINOv2-S or -B (or DINOv3) and DPT, encoder trained or frozen."""
    is_dino = any(generation in encoder.name for generation in ("_dinov2", "_dinov3"))
    if not (encoder.name.startswith("tu-vit_") and is_dino):
        raise ModelError(
            f"dinov2_dpt needs a DINOv2 or DINOv3 encoder, not {encoder.name!r}; fit: {DINO_FIT}"
        )
    given = parse_block(DINOv2Options, options, source="model.options")
    return _build(encoder, num_classes, ViTOptions(token="none", **given.model_dump()))


def _build(encoder: EncoderChoice, num_classes: int, options: ViTOptions) -> Segmenter:
    tokens, channels = _token_maps(encoder, options)
    tokens.requires_grad_(not options.freeze_encoder)
    if options.decoder == "linear":
        head = nn.Conv2d(channels, num_classes, 1)
        return Segmenter(encoder=tokens, decoder=LastMap(), head=head)
    width = next(width for limit, width in WIDTHS if channels <= limit)
    head = nn.Conv2d(width, num_classes, 1)
    return Segmenter(encoder=tokens, decoder=DPT(channels, width), head=head)


def is_vit(name: str) -> bool:
    """Whether an encoder's name is that of a ViT of timm."""
    bare = name.removeprefix(TIMM)
    return name.startswith(TIMM) and timm.models.is_model_in_modules(bare, FAMILIES)


def is_dinov2(name: str) -> bool:
    """Whether an encoder is DINOv2 without registers: its positions are interpolated otherwise."""
    return is_vit(name) and "_dinov2" in name and "_reg" not in name


def vit_maps(encoder: EncoderChoice, *, antialias: bool = False) -> nn.Module:
    """The maps that DPT reads of a ViT, as they are: four, all of the size in patches."""
    return _token_maps(encoder, ViTOptions(token="none", antialias=antialias))[0]


def _token_maps(encoder: EncoderChoice, options: ViTOptions) -> tuple[TokenMaps, int]:
    """The encoder, and the channels of each of its maps."""
    network = _network(encoder, options)
    depth = len(network.blocks)
    taken = [depth - 1] if options.decoder == "linear" else _evenly(depth)
    network.prune_intermediate_layers(taken)
    return TokenMaps(network, taken, options.token), network.embed_dim


def _evenly(depth: int) -> list[int]:
    """The blocks whose tokens DPT reads: 2, 5, 8, 11 of 12; of 24 as UniMatch V2 has them."""
    if depth < NUM_MAPS:
        raise ModelError(f"DPT reads {NUM_MAPS} blocks, the encoder has {depth}; decoder: linear")
    if depth == 24:
        return [4, 11, 17, 23]
    return [(part + 1) * depth // NUM_MAPS - 1 for part in range(NUM_MAPS)]


def _network(encoder: EncoderChoice, options: ViTOptions) -> Any:
    """timm's network with the parts that `options` exchange."""
    name = encoder.name.removeprefix(TIMM)
    other = timm.is_model(name) and not is_vit(encoder.name)
    if other or not encoder.name.startswith(TIMM):
        raise _no_vit(encoder)
    table = {"pos_embed": "learn"} if options.positions == "learned" else {}
    network = timm_network(encoder, num_classes=0, dynamic_img_size=True, **table)
    if not isinstance(network, VisionTransformer | Eva):
        raise _no_vit(encoder)
    if options.token == "class" and network.cls_token is None:
        raise ModelError(f"{encoder.name!r} has no class token; options: {{token: mean}} fits")
    if options.positions != "own" or options.stem != "linear":
        _exchange(network, encoder, options)
    if is_dinov2(encoder.name) and not options.antialias and _has_class_and_table(network):
        network.__class__ = DINOv2Positions  # timm builds the network, and asks for no class
    return network


def _has_class_and_table(network: Any) -> bool:
    """And no registers, which encoder_options may add."""
    return network.pos_embed is not None and network.num_prefix_tokens == 1


def _no_vit(encoder: EncoderChoice) -> ModelError:
    return ModelError(f"vit needs a ViT encoder, not {encoder.name!r}; fit: {FIT}")


def _exchange(network: Any, encoder: EncoderChoice, options: ViTOptions) -> None:
    patches: Any = network.patch_embed
    plain = isinstance(network, VisionTransformer) and isinstance(patches, PatchEmbed)
    if not plain:
        raise ModelError(
            f"positions: {options.positions}, stem: {options.stem}: {encoder.name!r} has ways of "
            "its own; only {positions: own, stem: linear} fit it"
        )
    if options.positions in ("none", *SINCOS):
        network.pos_embed = None
    if options.positions in SINCOS:
        if network.embed_dim % 4:
            raise ModelError(f"{network.embed_dim} channels: sincos needs a multiple of 4")
        # What comes behind the projection sees tokens as B, h, w, D.
        patches.norm = _then(patches.norm, FixedPositions(options.positions))
    if options.stem == "convolutional":
        if encoder.hub:
            raise ModelError(
                "stem: convolutional has no weights on the hub; stem: linear has, "
                "or encoder_weights: null"
            )
        patches.proj = ConvolutionalStem(patches.patch_size[0], network.embed_dim)


def _then(first: nn.Module, second: nn.Module) -> nn.Module:
    return second if isinstance(first, nn.Identity) else nn.Sequential(first, second)


class TokenMaps(nn.Module):
    """images to [images, maps_BDhw after the taken blocks and the last norm], in patches.

    Inside, the image is resized to the nearest multiple of the patch.
    """

    def __init__(self, network: nn.Module, taken: list[int], token: str) -> None:
        """`network` keeps timm's names, so weight files fit."""
        super().__init__()
        self.model: Any = network
        self.taken = taken
        self.token = token

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """One map per taken block, each with the readout added."""
        patch_px = self.model.patch_embed.feat_ratio(as_scalar=False)
        size = [
            max(1, (2 * side + px) // (2 * px)) * px
            for side, px in zip(images_BCHW.shape[-2:], patch_px, strict=True)
        ]
        resized = images_BCHW
        if list(images_BCHW.shape[-2:]) != size:
            resized = F.interpolate(images_BCHW, size, mode="bilinear", align_corners=False)
        found = self.model.forward_intermediates(
            resized,
            indices=self.taken,
            norm=True,
            return_prefix_tokens=True,
            intermediates_only=True,
        )
        return [images_BCHW, *map(self._with_readout, found)]

    def _with_readout(self, found: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        patches_BDhw, prefix_BND = found if isinstance(found, tuple) else (found, None)
        if self.token == "none":
            return patches_BDhw
        if self.token == "class" and prefix_BND is not None:
            return patches_BDhw + prefix_BND[:, 0, :, None, None]
        return patches_BDhw + patches_BDhw.mean(dim=(2, 3), keepdim=True)
