"""A probe: a small network on the maps of a frozen encoder, cell by cell.

What pretrained features hold is read off by one hidden layer (with none it would be the linear
probe of Alain and Bengio 2016). The encoder never learns, so that its maps of an image can be kept
and a training takes seconds. B images, M cells, C channels of all maps side by side, D of their
principal components, J hidden units, K classes, h and w a map's size in cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.models.encoders import EncoderChoice, feature_encoder
from pipeline.models.segmenter import Segmenter
from pipeline.models.transformers.vit import is_vit, vit_maps

CELL_PX = 4  # a cell's side: thin things are one or two cells wide
NUM_COMPONENTS, HIDDEN = 64, 128
OPTIONS = {"components": NUM_COMPONENTS, "hidden": HIDDEN}
ANTIALIAS = "antialias"  # as of `vit`


class Head(nn.Module):
    """A hidden layer and the classes, of single cells."""

    def __init__(self, hidden: nn.Sequential, classes: nn.Linear) -> None:
        super().__init__()
        self.hidden = hidden
        self.classes = classes

    @classmethod
    def of_size(cls, width: int, num_classes: int, hidden: int = HIDDEN) -> Self:
        """One with weights drawn from torch's global generator."""
        first = nn.Sequential(nn.Linear(width, hidden), nn.ReLU())
        return cls(first, nn.Linear(hidden, num_classes))

    def forward(self, cells_MD: Tensor) -> Tensor:
        """Logits MK."""
        logits_MK: Tensor = self.classes(self.hidden(cells_MD))
        return logits_MK


class Probe(Segmenter):
    """A frozen encoder, a fixed projection of its maps, and a `Head` on every cell of 4 pixels.

    Its decoder gives the hidden units, its head the classes. Whoever trains it sets the projection
    first (`decoder.set_components`); until then it is random.
    """

    decoder: ProbeDecoder
    head: PerCell

    def __init__(
        self, encoder: nn.Module, width: int, num_classes: int, *, components: int, hidden: int
    ) -> None:
        head = Head.of_size(components, num_classes, hidden)
        super().__init__(
            encoder=encoder.requires_grad_(False),
            decoder=ProbeDecoder(width, components, head.hidden),
            head=PerCell(head.classes),
        )

    def train(self, mode: bool = True) -> Self:
        """As of every module, but the encoder's batch norms keep their statistics."""
        super().train(mode)
        self.encoder.eval()
        return self

    def cells(self, images_BCHW: Tensor) -> Tensor:
        """cells_BDhw: principal components of the encoder's maps, all that depends on an image."""
        return self.decoder.project(self.encode(images_BCHW))

    def classify_cells(self, cells_BDhw: Tensor, like: Tensor) -> Tensor:
        """logits_BKHW at the height and width of `like`: the rest of the way."""
        return self.classify(self.decoder.hide(cells_BDhw), like)

    def cell_head(self) -> Head:
        """Everything that learns, as a network on single cells; it shares this one's weights."""
        return Head(self.decoder.hidden, self.head.layer)


class ProbeDecoder(nn.Module):
    """From an encoder's maps to hidden units of every cell."""

    mean_C: Tensor
    projection_CD: Tensor

    def __init__(self, width: int, components: int, hidden: nn.Sequential) -> None:
        super().__init__()
        self.register_buffer("mean_C", torch.zeros(width))
        self.register_buffer("projection_CD", torch.randn(width, components) / width**0.5)
        self.hidden = hidden

    def forward(self, features: list[Tensor]) -> Tensor:
        """hidden_BJhw of what the encoder gives, the image first."""
        return self.hide(self.project(features))

    def project(self, features: Sequence[Tensor]) -> Tensor:
        """cells_BDhw."""
        centred_BChw = side_by_side(features) - self.mean_C[:, None, None]
        return F.conv2d(centred_BChw, self.projection_CD.T[..., None, None])

    def hide(self, cells_BDhw: Tensor) -> Tensor:
        """hidden_BJhw."""
        hidden_BJhw: Tensor = self.hidden(cells_BDhw.movedim(1, -1)).movedim(-1, 1)
        return hidden_BJhw

    @torch.no_grad()
    def set_components(self, mean_C: Tensor, projection_CD: Tensor) -> None:
        """What `principal_components` found; where there are fewer, the rest gives zeros."""
        self.mean_C.copy_(mean_C)
        self.projection_CD.zero_()
        self.projection_CD[:, : projection_CD.shape[1]].copy_(projection_CD)


class PerCell(nn.Module):
    """A layer of single cells on a whole map."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden_BJhw: Tensor) -> Tensor:
        """BKhw."""
        found_BKhw: Tensor = self.layer(hidden_BJhw.movedim(1, -1)).movedim(-1, 1)
        return found_BKhw


def side_by_side(features: Sequence[Tensor]) -> Tensor:
    """features_BChw: the maps from 1/4 on at 1/4 of the image, which comes first."""
    image_BCHW, *maps = features
    cells = (image_BCHW.shape[-2] // CELL_PX, image_BCHW.shape[-1] // CELL_PX)
    coarse = [each for each in maps if each.shape[-2] <= cells[0]]
    return torch.cat([F.interpolate(each, cells, mode="bilinear") for each in coarse], dim=1)


def probe(choice: EncoderChoice, num_classes: int, options: Mapping[str, Any]) -> Segmenter:
    """A small head on the maps of a frozen encoder, any of them or a ViT's; seconds to train."""
    known = [*OPTIONS, ANTIALIAS]
    if unknown := sorted(options.keys() - set(known)):
        raise ModelError(f"probe: unknown option {', '.join(unknown)}; it has {', '.join(known)}")
    antialias = options.get(ANTIALIAS, False)
    if type(antialias) is not bool:
        raise ModelError(f"probe: option {ANTIALIAS} = {antialias!r}: expected true or false")
    sizes = OPTIONS | {name: value for name, value in options.items() if name != ANTIALIAS}
    for name, value in sizes.items():
        if type(value) is not int or value < 1:
            raise ModelError(f"probe: option {name} = {value!r}: expected a whole number above 0")
    of_vit = is_vit(choice.name)
    encoder = vit_maps(choice, antialias=antialias) if of_vit else feature_encoder(choice)
    width = _width(encoder)
    components = min(sizes["components"], width)
    return Probe(encoder, width, num_classes, components=components, hidden=sizes["hidden"])


def _width(encoder: nn.Module) -> int:
    """C, by showing it an image: libraries count maps that an encoder lacks in several ways."""
    was_training = encoder.training
    with torch.inference_mode():
        found = side_by_side(encoder.eval()(torch.zeros(1, 3, 64, 64))).shape[1]
    encoder.train(was_training)
    return found
