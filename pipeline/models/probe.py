"""A probe: a small network on the maps of a frozen encoder, cell by cell.

What pretrained features hold is read off by one hidden layer (with none it would be the linear
probe of Alain and Bengio 2016). The encoder never learns, so that its maps of an image can be kept
and a training takes seconds. A cell is told apart in four parts, by the map that is finer than
cells. B images, M cells, C channels of all maps side by side, D of their principal components, J
hidden units, K classes, S parts of a cell, h and w a map's size in cells.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.models.encoders import EncoderChoice, feature_encoder
from pipeline.models.segmenter import Segmenter
from pipeline.models.transformers.vit import is_vit, vit_maps

CELL_PX = 4  # a cell's side
PARTS = 2  # of a cell along each side, of a class each: of 2 pixels, as the thinnest things are
NUM_COMPONENTS, NUM_DETAILS, HIDDEN = 64, 16, 128
OPTIONS = {"components": NUM_COMPONENTS, "details": NUM_DETAILS, "hidden": HIDDEN}
FEWEST = {"components": 1, "details": 0, "hidden": 1}
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
        """Logits MK; of S parts of a cell M(KS), the parts of a class side by side."""
        logits_MK: Tensor = self.classes(self.hidden(cells_MD))
        return logits_MK


class Probe(Segmenter):
    """A frozen encoder, a fixed projection of its maps, and a `Head` on every cell of 4 pixels.

    Its decoder gives the hidden units, its head the classes. Whoever trains it sets the projection
    first (`decoder.set_components`); until then it is random.
    """

    decoder: ProbeDecoder
    head: PerCell

    def __init__(self, encoder: nn.Module, num_classes: int, sizes: Mapping[str, int]) -> None:
        """`sizes` as OPTIONS; fewer components where the maps have fewer channels.

        Without details a cell has one class.
        """
        wanted = [sizes[name] for name in ("components", "details") if sizes[name]]
        widths = _widths(encoder)[: len(wanted)]
        components = [min(count, width) for count, width in zip(wanted, widths, strict=True)]
        parts = PARTS if sizes["details"] else 1
        head = Head.of_size(sum(components), num_classes * parts**2, sizes["hidden"])
        super().__init__(
            encoder=encoder.requires_grad_(False),
            decoder=ProbeDecoder(widths, components, head.hidden),
            head=PerCell(head.classes, parts),
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

    def __init__(self, widths: Sequence[int], components: list[int], hidden: nn.Sequential) -> None:
        """Channels and components of the encoder's maps, and of what is finer."""
        super().__init__()
        self.components = components
        self.register_buffer("mean_C", torch.zeros(sum(widths)))
        self.register_buffer("projection_CD", torch.zeros(sum(widths), sum(components)))
        self.hidden = hidden
        self.set_components(
            *(
                (torch.zeros(width), torch.randn(width, count) / width**0.5)
                for width, count in zip(widths, components, strict=True)
            )
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """hidden_BJhw of what the encoder gives, the image first."""
        return self.hide(self.project(features))

    def project(self, features: Sequence[Tensor]) -> Tensor:
        """cells_BDhw: of the maps side by side, each projected before it is enlarged, for that is
        the same and quicker."""
        maps = coarse_maps(features)
        if len(self.components) > 1:
            maps.append(fine_map(features))
        widths = [each.shape[1] for each in maps]
        parts = [
            _enlarged(
                F.conv2d(each - mean_C[:, None, None], projection_CD.T[..., None, None]),
                _cells(features),
            )
            for each, mean_C, projection_CD in zip(
                maps,
                torch.split(self.mean_C, widths),
                torch.split(self.projection_CD, widths),
                strict=True,
            )
        ]
        return functools.reduce(torch.add, parts)

    def hide(self, cells_BDhw: Tensor) -> Tensor:
        """hidden_BJhw."""
        hidden_BJhw: Tensor = self.hidden(cells_BDhw.movedim(1, -1)).movedim(-1, 1)
        return hidden_BJhw

    @torch.no_grad()
    def set_components(self, *found: tuple[Tensor, Tensor]) -> None:
        """What `principal_components` found of the maps, and of what is finer; where there are
        fewer, the rest gives zeros."""
        self.projection_CD.zero_()
        row = column = 0
        for (mean_C, projection_CD), count in zip(found, self.components, strict=True):
            rows = slice(row, row + len(mean_C))
            self.mean_C[rows] = mean_C
            self.projection_CD[rows, column : column + projection_CD.shape[1]] = projection_CD
            row, column = rows.stop, column + count


class PerCell(nn.Module):
    """A layer of single cells on a whole map; what it says of their parts is put in place."""

    def __init__(self, layer: nn.Linear, parts: int) -> None:
        """`parts` of a cell along each side."""
        super().__init__()
        self.layer = layer
        self.parts = parts

    def forward(self, hidden_BJhw: Tensor) -> Tensor:
        """BKHW, of single parts."""
        parts_BXhw: Tensor = self.layer(hidden_BJhw.movedim(1, -1)).movedim(-1, 1)
        return F.pixel_shuffle(parts_BXhw, self.parts)


def side_by_side(features: Sequence[Tensor]) -> Tensor:
    """features_BChw: the maps from 1/4 on at 1/4 of the image, which comes first."""
    size = _cells(features)
    return torch.cat([_enlarged(each, size) for each in coarse_maps(features)], dim=1)


def coarse_maps(features: Sequence[Tensor]) -> list[Tensor]:
    """Those whose values stand for a cell or more."""
    return [each for each in features[1:] if each.shape[-2] <= _cells(features)[0]]


def fine_map(features: Sequence[Tensor]) -> Tensor:
    """fine_BChw: what each cell has of the encoder's map at 1/2, or of the image where there is
    none, as channels."""
    rows = _cells(features)[0]
    halves = [each for each in features[1:] if each.shape[-2] == 2 * rows and each.shape[1]]
    finer = (halves or features)[0]
    return F.pixel_unshuffle(finer, finer.shape[-2] // rows)


def _enlarged(map_BChw: Tensor, size: tuple[int, int]) -> Tensor:
    if map_BChw.shape[-2:] == size:
        return map_BChw
    return F.interpolate(map_BChw, size, mode="bilinear")


def _cells(features: Sequence[Tensor]) -> tuple[int, int]:
    height, width = features[0].shape[-2:]
    return height // CELL_PX, width // CELL_PX


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
        if type(value) is not int or value < FEWEST[name]:
            raise ModelError(
                f"probe: option {name} = {value!r}: expected a whole number, at least "
                f"{FEWEST[name]}"
            )
    of_vit = is_vit(choice.name)
    encoder = vit_maps(choice, antialias=antialias) if of_vit else feature_encoder(choice)
    return Probe(encoder, num_classes, sizes)


def _widths(encoder: nn.Module) -> tuple[int, int]:
    """C of coarse and fine, by showing it an image: libraries count maps that an encoder lacks in
    several ways."""
    was_training = encoder.training
    with torch.inference_mode():
        found = encoder.eval()(torch.zeros(1, 3, 64, 64))
    encoder.train(was_training)
    return side_by_side(found).shape[1], fine_map(found).shape[1]
