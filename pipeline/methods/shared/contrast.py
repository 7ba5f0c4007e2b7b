"""What contrastive methods share: projections, keys that are kept, and InfoNCE over pixels.

Pixels are compared at a quarter of the image's size, or at the decoder's where that is coarser.
B images, C channels, K classes, H height, W width, h and w at that size, D dimensions of a
representation, N pixels or keys in a row, A anchors, M negatives of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.block import Block
from pipeline.errors import ConfigError
from pipeline.methods.shared.base import TeacherStudent
from pipeline.methods.shared.protocol import MethodSetup, Network

STRIDE_PX = 4  # of the representations in ReCo and U2PL: DeepLabV3+'s decoder
PROBE_PX = 64  # side of the image that finds out how many channels a decoder gives
MAX_PERCENTILE_VALUES = 2**16  # whose standard error is at most a fifth of a percent of the ranks


class ContrastOptions(Block):
    """What every contrastive method may be told."""

    dimensions: Annotated[int, Field(ge=2)] = 256
    """D of the representations."""
    num_anchors: Annotated[int, Field(ge=1)] = 256
    """Drawn for each class and step."""
    temperature: Annotated[float, Field(gt=0)] = 0.5
    """Of the cosines."""


class Contrastive(TeacherStudent):
    """A teacher, and a student with a projection beside its head.

    Labelled and mixed images go through the student once more, in one batch, for logits and
    representations: the term `supervised` stays what it is without unlabelled images.
    """

    perturbs_networks = False
    options_type = ContrastOptions
    options: ContrastOptions

    def __init__(self, setup: MethodSetup) -> None:
        """ConfigError where features are to be perturbed: anchors are taken as they are."""
        super().__init__(setup)
        if self.perturbation_names:
            raise ConfigError(
                f"method.feature_perturbations: {setup.params.name} takes none; set it to null"
            )
        self.projection = new_projection(num_channels(self.student), self.options.dimensions)


class Seen(NamedTuple):
    """What a network makes of images."""

    logits_BKHW: Tensor
    representation_BDhw: Tensor


def see(network: Network, projection: Callable[[Tensor], Tensor], images_BCHW: Tensor) -> Seen:
    """Logits and projected representations, of one forward."""
    features = network.encode(images_BCHW)
    represented = network.represent(features)
    height, width = (-(-side // STRIDE_PX) for side in images_BCHW.shape[-2:])
    pooled = represented
    if represented.shape[-2] > height:
        pooled = F.adaptive_avg_pool2d(represented, (height, width))
    # Sums over many pixels follow, whatever the precision of the network.
    return Seen(network.classify(represented, features[0]), projection(pooled).float())


def new_projection(channels: int, dimensions: int) -> nn.Module:
    """representation_BChw to representation_BDhw: 3x3, batch norm, 1x1 (ReCo, section 3.1)."""
    return nn.Sequential(
        nn.Conv2d(channels, dimensions, 3, padding=1, bias=False),
        nn.BatchNorm2d(dimensions),
        nn.ReLU(inplace=True),
        nn.Conv2d(dimensions, dimensions, 1),
    )


def num_channels(network: nn.Module) -> int:
    """Channels of what `network` gives its head; neither it nor a generator is changed."""
    return channels_of(network, lambda parts, images: parts.represent(parts.encode(images)))


@torch.no_grad()
def channels_of(network: nn.Module, part: Callable[[Network, Tensor], Tensor]) -> int:
    """Channels of what `part` makes of images_BCHW; nothing is changed either."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    images_BCHW = next(network.parameters()).new_zeros(1, 3, PROBE_PX, PROBE_PX)
    channels = part(cast(Network, network), images_BCHW).shape[1]
    for module, mode in training.items():
        module.training = mode
    return channels


class KeyQueue(nn.Module):
    """The newest keys of every class, in buffers: a checkpoint keeps them."""

    keys_KND: Tensor
    count_K: Tensor
    place_K: Tensor

    def __init__(self, num_classes: int, size: int, dimensions: int) -> None:
        """Empty."""
        super().__init__()
        self.register_buffer("keys_KND", torch.zeros(num_classes, size, dimensions))
        self.register_buffer("count_K", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("place_K", torch.zeros(num_classes, dtype=torch.int64))

    @torch.no_grad()
    def add(self, class_index: int, keys_ND: Tensor) -> None:
        """Keep `keys_ND`, the last of them if they are more than fit, in place of the oldest."""
        size = self.keys_KND.shape[1]
        kept_ND = keys_ND[-size:]
        place, count = self.place_K[class_index], self.count_K[class_index]
        places = (place + torch.arange(len(kept_ND), device=keys_ND.device)) % size
        self.keys_KND[class_index, places] = kept_ND
        place.add_(len(kept_ND)).remainder_(size)
        count.add_(len(kept_ND)).clamp_(max=size)

    def get(self, class_index: int) -> Tensor:
        """keys_ND of a class, in no order."""
        return self.keys_KND[class_index, : int(self.count_K[class_index])]


def info_nce(
    anchors_AD: Tensor, positive_D: Tensor, keys_ND: Tensor, chosen_AM: Tensor, temperature: float
) -> Tensor:
    """Mean over anchors of -log e^(a+/T) / (e^(a+/T) + sum of e^(a-/T)), of cosines a.

    Anchor i is held against the keys chosen_AM[i] (ReCo, eq. 1; U2PL, eq. 5).
    """
    anchors_AD, keys_ND = F.normalize(anchors_AD, dim=1), F.normalize(keys_ND, dim=1)
    positive_A1 = anchors_AD @ F.normalize(positive_D, dim=0)[:, None]
    negative_AM = (anchors_AD @ keys_ND.T).gather(1, chosen_AM)
    logits = torch.cat([positive_A1, negative_AM], dim=1) / temperature
    return F.cross_entropy(logits, chosen_AM.new_zeros(len(logits)))


def rows(values_ND: Tensor, places_A: Tensor) -> Tensor:
    """The values at `places_A`, with repetition.

    Not by brackets: the gradient of those adds up in an order that hangs on the threads, and the
    same seed would give other weights.
    """
    return values_ND.index_select(0, places_A)


def draw(where_N: Tensor, count: int) -> Tensor:
    """`count` places of True, uniform and with replacement; there must be one."""
    places = where_N.nonzero().squeeze(1)
    return places[torch.randint(len(places), (count,), device=places.device)]


def shrunk(values: Tensor, like_BDhw: Tensor) -> Tensor:
    """`values` (BHW or BKHW, of any type) at the size of `like_BDhw`: the nearest pixels."""
    rows, columns = (
        ((torch.arange(small, device=values.device) + 0.5) * (large / small)).long()
        for small, large in zip(like_BDhw.shape[-2:], values.shape[-2:], strict=True)
    )
    return values[..., rows[:, None], columns]


def in_a_row(values_BDhw: Tensor) -> Tensor:
    """values_ND, image after image."""
    return values_BDhw.movedim(1, -1).flatten(0, 2)


def percentile(values_N: Tensor, share: float) -> Tensor:
    """The value that `share` of evenly spread samples lie below; 0 of none."""
    if not len(values_N):
        return values_N.new_zeros(())
    stride = -(-len(values_N) // MAX_PERCENTILE_VALUES)
    return values_N[::stride].float().quantile(share)
