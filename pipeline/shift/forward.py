"""Images through a frozen encoder or a trained network: embeddings, layer statistics, logits.

N images, B of them at once, C channels, H height, W width, K classes, E features of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from pipeline.config.network import Normalisation
from pipeline.config.params import EmbedParams, ImageParams
from pipeline.data.augment import middle_view, normalise
from pipeline.data.corruptions import Alteration, altered
from pipeline.data.dataset import read_overview, read_seen
from pipeline.data.formats.images import image_size, load_mask
from pipeline.inference.strips import LogitsAt, strips_of
from pipeline.inference.tiles import Bands, TileSettings, View, tiled
from pipeline.runtime.progress import Progress
from pipeline.shift.channel_statistics import LayerMoments, watching
from pipeline.shift.predictions import Predictions, drawn
from pipeline.shift.time_blocks import Embeddings, Runs, evenly
from pipeline.stages.embed import pooled, seeded_encoder
from pipeline.types import MAX_CLASSES

Found = TypeVar("Found")

BATCH = 8
NUM_WATCHED = 64  # images whose layer statistics are kept: their means then hold to an eighth


class Picture(NamedTuple):
    """One image on disk."""

    sample_id: str
    image: Path
    mask: Path | None = None
    altered: Alteration | None = None
    """How it is changed once it is read."""


class Preprocessing(NamedTuple):
    """How images are prepared for a network."""

    image: ImageParams
    normalisation: Normalisation
    device: torch.device
    tiles: bool
    """Whether the network sees an image tile by tile, as a trained one does, or whole and small."""


def frozen_encoder(embed: EmbedParams, device: torch.device) -> nn.Module:
    """The encoder of the stage embed, with the same random weights where it has none of its own."""
    return seeded_encoder(embed).to(device)


def layer_moments(
    network: nn.Module, pictures: Sequence[Picture], preprocessing: Preprocessing, label: str
) -> dict[str, LayerMoments]:
    """Channel statistics of the network's layers on the images that `watched` chooses.

    Of images seen in tiles, the tile in the middle.
    """
    with watching(network) as watch:
        _through(pictures[watched(len(pictures))], preprocessing, label, network)
    return watch.moments()


def watched(num_images: int) -> slice:
    """Indices of the images whose layer statistics are kept."""
    return slice(None, None, max(1, -(-num_images // NUM_WATCHED)))


def embedded(
    encoder: nn.Module, pictures: Sequence[Picture], preprocessing: Preprocessing, label: str
) -> Embeddings:
    """embeddings_NE as of the stage embed."""

    def look(images_BCHW: Tensor) -> NDArray[np.float32]:
        _, *maps = encoder(images_BCHW)
        found_BE: NDArray[np.float32] = pooled(maps).cpu().numpy()
        return found_BE

    return np.concatenate(_through(pictures, preprocessing, label, look))


def answered(
    networks: tuple[nn.Module, nn.Module | None],
    pictures: Sequence[Picture],
    preprocessing: Preprocessing,
    pixels: int,
    run_N: Runs,
) -> Predictions:
    """Logits of the first network at `pixels` of each image, and the second network's classes.

    `truth_NM` from the masks, at the scale that networks see; None unless every picture has one.
    """
    network, other = networks
    views: list[View] = [network] if other is None else [network, other]
    sizes = [preprocessing.image.seen_size(image_size(each.image)) for each in pictures]
    pixels = min(pixels, *(height * width for height, width in sizes))
    settings = TileSettings(
        preprocessing.image.crop_size, preprocessing.normalisation, preprocessing.device
    )
    images = ((place, _read(each, preprocessing)) for place, each in enumerate(pictures))
    said: list[list[NDArray[np.float32]]] = []
    with Progress("predict", len(pictures)) as progress:
        for place, bands in tiled(images, views, settings):
            said.append(_at(bands, views, sizes[place], pixels))
            progress.advance()
    masks = [
        _mask(each, size)[drawn(size[0] * size[1], pixels)]
        for each, size in zip(pictures, sizes, strict=True)
        if each.mask
    ]
    return Predictions(
        logits_NMK=np.stack([one_MK for one_MK, *_ in said]).astype(np.float16),
        other_NM=None
        if other is None
        else np.stack([other_MK.argmax(axis=-1) for _, other_MK in said]).astype(np.uint8),
        truth_NM=np.stack(masks) if len(masks) == len(pictures) else None,
        run_N=run_N,
    )


def thinned(pictures: Sequence[Picture], most: int) -> list[Picture]:
    """At most so many, evenly over the order of names."""
    ordered = sorted(pictures)
    return [ordered[place] for place in evenly(len(ordered), most)]


def _through(
    pictures: Sequence[Picture],
    preprocessing: Preprocessing,
    label: str,
    look: Callable[[Tensor], Found],
) -> list[Found]:
    """Results of `look`, batch by batch."""
    found: list[Found] = []
    with Progress(label, len(pictures)) as progress, torch.inference_mode():
        for first in range(0, len(pictures), BATCH):
            group = pictures[first : first + BATCH]
            for images_BCHW in _batches(group, preprocessing):
                found.append(look(images_BCHW))
            progress.advance(len(group))
    return found


def _batches(pictures: Sequence[Picture], preprocessing: Preprocessing) -> Iterator[Tensor]:
    """What a network sees of the pictures, in order, as much of one size together as there is."""
    images = [_shown(each, preprocessing) for each in pictures]
    for _, alike in groupby(images, key=lambda image_CHW: image_CHW.shape):
        images_BCHW = torch.stack(list(alike)).to(preprocessing.device)
        yield normalise(images_BCHW, preprocessing.normalisation)


def _shown(picture: Picture, preprocessing: Preprocessing) -> Tensor:
    """What a network sees of it at once."""
    image_CHW = _read(picture, preprocessing)
    if not preprocessing.tiles:
        return image_CHW
    return middle_view(image_CHW, preprocessing.image.crop_size).clone()  # lets the rest go


def _read(picture: Picture, preprocessing: Preprocessing) -> Tensor:
    read = read_seen if preprocessing.tiles else read_overview
    image_CHW = read(picture.image, preprocessing.image)
    return image_CHW if picture.altered is None else altered(image_CHW, picture.altered)


def _at(
    bands: Bands, views: Sequence[View], size: tuple[int, int], pixels: int
) -> list[NDArray[np.float32]]:
    """logits_MK of each view at the pixels drawn of an image of `size`."""
    found = [LogitsAt(drawn(size[0] * size[1], pixels), size[1]) for _ in views]
    for strip in strips_of(bands, size):
        for view, each in zip(views, found, strict=True):
            each.add(strip.rows, strip.logits[view])
    return [each.logits_MK for each in found]


def _mask(picture: Picture, size: tuple[int, int]) -> NDArray[np.uint8]:
    assert picture.mask is not None
    mask = Image.fromarray(load_mask(picture.mask, MAX_CLASSES))
    return np.array(mask.resize((size[1], size[0]), Image.Resampling.NEAREST)).reshape(-1)
