"""Models of segmentation_models_pytorch, with any of its encoders or any of timm's (`tu-*`).

U-Net (Ronneberger et al. 2015), a miniature of PSPNet (Zhao et al. 2017), DeepLabV3 and V3+ (Chen
et al. 2017, 2018), UPerNet (Xiao et al. 2018), SegFormer (Xie et al. 2021), FPN (Kirillov et al.
2019).
`options` are arguments of the library's class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import segmentation_models_pytorch as library
from torch import nn

from pipeline.errors import ModelError
from pipeline.models.encoders import EncoderChoice, drop_unused_blocks, no_hub
from pipeline.models.segmenter import Segmenter

Options = Mapping[str, Any]


def unet(encoder: EncoderChoice, num_classes: int, options: Options) -> Segmenter:
    """U-Net."""
    return _build(library.Unet, encoder, num_classes, options)


def pspnet_mini(encoder: EncoderChoice, num_classes: int, options: Options) -> Segmenter:
    """PSPNet's pooling on the encoder's third stage, at 1/8; cheap, since deeper ones are left out.

    Neither dilated nor with an auxiliary loss: not the paper's network, which is `pspnet`.
    """
    return _build(library.PSPNet, encoder, num_classes, options)


def deeplabv3(encoder: EncoderChoice, num_classes: int, options: Options) -> Segmenter:
    """DeepLabV3, by default at output stride 16: the library's 8 costs four times as much."""
    return _build(library.DeepLabV3, encoder, num_classes, {"encoder_output_stride": 16, **options})


def deeplabv3plus(encoder: EncoderChoice, num_classes: int, options: Options) -> Segmenter:
    """DeepLabV3+ at output stride 16."""
    return _build(library.DeepLabV3Plus, encoder, num_classes, options)


def upernet(encoder: EncoderChoice, num_classes: int, options: Options) -> Segmenter:
    """UPerNet: pyramid pooling on the deepest map, then a feature pyramid."""
    return _build(library.UPerNet, encoder, num_classes, options)


def segformer(encoder: EncoderChoice, num_classes: int, options: Options) -> Segmenter:
    """SegFormer's decoder: four maps by linear layers to one size, summed up by one more."""
    return _build(library.Segformer, encoder, num_classes, options)


def fpn(encoder: EncoderChoice, num_classes: int, options: Options) -> Segmenter:
    """FPN: a feature pyramid, all its levels added at 1/4."""
    return _build(library.FPN, encoder, num_classes, options)


def _build(
    architecture: type[nn.Module], encoder: EncoderChoice, num_classes: int, options: Options
) -> Segmenter:
    try:
        model = architecture(
            encoder.name,
            encoder_weights=encoder.hub_weights,
            classes=num_classes,
            **options,
            **encoder.options,
        )
    except OSError as error:
        raise ModelError(f"{no_hub(encoder)}: {error}") from error
    except (KeyError, RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        raise ModelError(
            f"{architecture.__name__} with options {dict(options)}, encoder {encoder.name!r} and "
            f"encoder_options {dict(encoder.options)}: {error}"
        ) from error
    found = model.get_submodule("encoder")
    drop_unused_blocks(found)
    return Segmenter(
        encoder=found,
        decoder=model.get_submodule("decoder"),
        head=model.get_submodule("segmentation_head"),
    )
