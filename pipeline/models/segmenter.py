"""The shape of every network: an encoder, a decoder and a head that one can call one by one.

B images, C channels, K classes, H height, W width, D channels of the representation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.types import STRIDE_PX


class Segmenter(nn.Module):
    """Normalised images_BCHW to logits_BKHW of the same height and width.

    Methods that perturb features or learn representations call the parts: `encode`, `represent`,
    `classify`. The first of the features is the image itself, as in segmentation_models_pytorch.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        decoder: nn.Module,
        head: nn.Module,
        auxiliary: nn.Module | None = None,
        auxiliary_level: int = 1,
    ) -> None:
        """`auxiliary` gives logits from one of the features, by its place; in training only."""
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = head
        self.auxiliary = auxiliary
        self.auxiliary_level = auxiliary_level

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits at the images' size."""
        return self.decode(self.encode(images_BCHW))

    def with_auxiliary(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of the head and of the auxiliary head, None without one."""
        features = self.encode(images_BCHW)
        if self.auxiliary is None:
            return self.decode(features), None
        auxiliary = self.auxiliary(features[self.auxiliary_level])
        return self.decode(features), _resized(auxiliary, images_BCHW)

    def encode(self, images_BCHW: Tensor) -> list[Tensor]:
        """The image, then feature maps from shallow to deep; ModelError for sizes that do not fit.

        The last one is what a decoder that looks at one map alone takes.
        """
        _refuse_sizes(*images_BCHW.shape[-2:])
        features: list[Tensor] = self.encoder(images_BCHW)
        return features

    def represent(self, features: list[Tensor]) -> Tensor:
        """representation_BDhw: what the decoder gives the head, at the decoder's size."""
        represented: Tensor = self.decoder(list(features))  # some decoders write into the list
        return represented

    def classify(self, representation_BDhw: Tensor, like: Tensor) -> Tensor:
        """logits_BKHW at the height and width of `like`."""
        logits_BKHW = _resized(self.head(representation_BDhw), like)
        if logits_BKHW.requires_grad and logits_BKHW.is_contiguous(
            memory_format=torch.channels_last
        ):
            # Losses over classes give their gradient with the channels first, and every layer
            # below would pay for putting them last again.
            logits_BKHW.register_hook(_channels_last)  # type: ignore[no-untyped-call]
        return logits_BKHW

    def decode(self, features: list[Tensor]) -> Tensor:
        """Logits at the images' size from what `encode` gave, perturbed or not."""
        return self.classify(self.represent(features), features[0])


def _channels_last(grad_BKHW: Tensor) -> Tensor:
    return grad_BKHW.contiguous(memory_format=torch.channels_last)


def _resized(values: Tensor, like: Tensor) -> Tensor:
    size = like.shape[-2:]
    if values.shape[-2:] == size:
        return values
    return F.interpolate(values, size, mode="bilinear", align_corners=False)


def _refuse_sizes(height: int, width: int) -> None:
    if height % STRIDE_PX or width % STRIDE_PX:
        fit = tuple(-(-side // STRIDE_PX) * STRIDE_PX for side in (height, width))
        raise ModelError(
            f"image of {height}x{width} pixels: height and width must be divisible by {STRIDE_PX}; "
            f"resize or pad to {fit[0]}x{fit[1]}"
        )
