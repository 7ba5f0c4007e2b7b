"""Images through a frozen encoder or a trained network: embeddings, layer statistics, logits.

N images, B of them at once, C channels, H height, W width, K classes, E features of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from pipeline.config.network import Normalisation
from pipeline.config.params import EmbedParams
from pipeline.data.augment import normalise
from pipeline.data.corruptions import Alteration, altered
from pipeline.data.dataset import read_image
from pipeline.data.formats.images import load_mask
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

    size: tuple[int, int]
    """Height and width in pixels."""
    normalisation: Normalisation
    device: torch.device


def frozen_encoder(embed: EmbedParams, device: torch.device) -> nn.Module:
    """The encoder of the stage embed, with the same random weights where it has none of its own."""
    return seeded_encoder(embed).to(device)


def layer_moments(
    network: nn.Module, pictures: Sequence[Picture], preprocessing: Preprocessing, label: str
) -> dict[str, LayerMoments]:
    """Channel statistics of the network's layers on the images that `watched` chooses."""
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

    `truth_NM` from the masks, at the network's size; None unless every picture has one.
    """
    network, other = networks
    place_M = drawn(preprocessing.size[0] * preprocessing.size[1], pixels)

    def look(images_BCHW: Tensor) -> tuple[NDArray[np.float16], NDArray[np.uint8] | None]:
        logits = _at(network(images_BCHW), place_M).astype(np.float16)
        if other is None:
            return logits, None
        return logits, _at(other(images_BCHW), place_M).argmax(axis=-1).astype(np.uint8)

    parts = _through(pictures, preprocessing, "predict", look)
    seen = [differing for _, differing in parts if differing is not None]
    masks = [_mask(each, preprocessing.size)[place_M] for each in pictures if each.mask]
    return Predictions(
        logits_NMK=np.concatenate([logits for logits, _ in parts]),
        other_NM=np.concatenate(seen) if seen else None,
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
        for images_BCHW in _batches(pictures, preprocessing):
            found.append(look(images_BCHW))
            progress.advance(len(images_BCHW))
    return found


def _batches(pictures: Sequence[Picture], preprocessing: Preprocessing) -> Iterator[Tensor]:
    for first in range(0, len(pictures), BATCH):
        group = pictures[first : first + BATCH]
        images_BCHW = torch.stack([_read(each, preprocessing.size) for each in group])
        yield normalise(images_BCHW.to(preprocessing.device), preprocessing.normalisation)


def _read(picture: Picture, size: tuple[int, int]) -> Tensor:
    image_CHW = read_image(picture.image, size)
    return image_CHW if picture.altered is None else altered(image_CHW, picture.altered)


def _at(logits_BKHW: Tensor, place_M: NDArray[np.int64]) -> NDArray[np.float32]:
    chosen_BKM = logits_BKHW.float().flatten(2)[:, :, torch.from_numpy(place_M)]
    return chosen_BKM.movedim(1, -1).cpu().numpy()


def _mask(picture: Picture, size: tuple[int, int]) -> NDArray[np.uint8]:
    assert picture.mask is not None
    mask = Image.fromarray(load_mask(picture.mask, MAX_CLASSES))
    return np.array(mask.resize((size[1], size[0]), Image.Resampling.NEAREST)).reshape(-1)
